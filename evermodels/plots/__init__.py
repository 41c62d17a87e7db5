"""Pictures of what a model read and what it looked at, drawn on matplotlib figures without global state.

Every function makes a ``matplotlib.figure.Figure`` of its own and returns it, or draws into ``axes`` that the caller
brings and returns their figure. Colours: Okabe and Ito's palette for classes and regions, viridis for
amounts, PuOr around zero for signed values; all of them can be told apart by people with colour blindness. ``theme``
is ``"light"`` or ``"dark"``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
