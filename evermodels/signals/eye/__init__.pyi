from .columns import COLUMNS as COLUMNS
from .events import Events as Events, find_blinks as find_blinks, find_movements as find_movements
from .features import FEATURES as FEATURES, SEED_FEATURES as SEED_FEATURES, Feature as Feature, Stretch as Stretch
from .reader import Reader as Reader
from .recording import Eye as Eye, read_eye as read_eye
