from .face_track import crop_faces as crop_faces, haar_face_crop as haar_face_crop
from .faces import HaarFaceCrop as HaarFaceCrop
from .read import read_video as read_video, video_duration as video_duration
from .reader import Reader as Reader
from .recording import Video as Video
