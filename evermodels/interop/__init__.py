"""The models as other libraries take them; none of these libraries is needed to import or to use them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
