from .ever import EVER as EVER, EVERConfig as EVERConfig, EVERLossConfig as EVERLossConfig
from .system import System as System
from .system_config import EncoderConfig as EncoderConfig, SystemConfig as SystemConfig
