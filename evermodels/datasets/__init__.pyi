from . import augment as augment, download as download
from .ceap import CEAP as CEAP
from .clips import crossfade_weights as crossfade_weights, face_clip as face_clip
from .download import data_folder as data_folder, fetch as fetch
from .eegmat import EEGMAT as EEGMAT
from .eegmat_parts import EEGMATSettings as EEGMATSettings
from .emodb import EmoDB as EmoDB
from .exo import SSVEPExo as SSVEPExo
from .faces import LondonFaces as LondonFaces
from .faces_parts import FacesSettings as FacesSettings
from .label_rules import LABEL_RULES as LABEL_RULES, LabelRule as LabelRule, label_rule as label_rule
from .manifest import Manifest as Manifest, read_manifest as read_manifest
from .muse import Muse as Muse
from .pairs import CLASSES as CLASSES, Pair as Pair
from .parts import DataSettings as DataSettings, Parts as Parts, check_disjoint as check_disjoint
from .pupil import EyeWindows as EyeWindows, Pupil as Pupil
from .quadrant import QuadrantPairs as QuadrantPairs, quadrant_split as quadrant_split
from .recordings import File as File, Recordings as Recordings, Segment as Segment, Session as Session
from .speech import RAVDESS as RAVDESS
from .splits import (
    SubjectSplit as SubjectSplit,
    leave_one_out as leave_one_out,
    random_split as random_split,
    subject_folds as subject_folds,
)
from .unlabelled import (
    MixedMontages as MixedMontages,
    MixingSampler as MixingSampler,
    Unlabelled as Unlabelled,
    UnlabelledWindows as UnlabelledWindows,
    join_items as join_items,
    join_montages as join_montages,
)
from .unlabelled_clips import UnlabelledClips as UnlabelledClips
from .utterances import UtteranceWindows as UtteranceWindows
