from .level import energy_mask as energy_mask, rms_dbfs as rms_dbfs
from .reader import Reader as Reader
from .recording import Audio as Audio, read_audio as read_audio
