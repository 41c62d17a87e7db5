"""How far the answers to the same clip as H.264, MJPEG and PNG stills lie apart.

    python tests/benchmarks/codec_agreement.py [NAME_OR_FOLDER ...] [--part validation] [--set first,second,third]

makes short clips of whole portraits (under EVERMODELS_DATA, default ../shared/data) of the validation people,
writes each three times, reads all through Preprocessor as any recording is read, and prints how far P(smiling) lies
apart among the three: the share of clips within 0.05, median, 90 %, largest; and accuracy, negative log-likelihood and
mean confidence, since a model that is never sure agrees with itself.

The reading path was chosen by looks at the first set (34 clips of one encoder setting). The second (68 clips) has other
motion, sizes, encoder settings and qualities, and about a quarter of its clips fade from one expression into the other.
Two clips of the second failed, since encoders cut colours off (by up to two grey levels between two of them); what
training does to colours was chosen after that was seen. The third (68 clips) was written down then and not read before
the weights were chosen: motion of its own again, other sizes, slower and cheaper encoder settings, wider qualities.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

import evermodels as em
from evermodels.core.specs import InputSpec
from evermodels.datasets import LondonFaces, face_clip, quadrant_split
from evermodels.signals import Preprocessor, Video

FPS, FRAMES, READ = 8, 32, 16
LIMIT = 0.05


class Clip(NamedTuple):
    """One clip: whose, what it shows, its frames, and how it is encoded.

    Attributes:
        name: Of its files.
        smiling: Whether it ends smiling.
        frames: ``(32, side, side, 3)`` uint8.
        crf: Of H.264.
        preset: Of H.264.
        quality: Quantiser of MJPEG.
    """

    name: str
    smiling: bool
    frames: np.ndarray
    crf: int
    preset: str
    quality: int


def first(faces: LondonFaces, people: tuple[str, ...]):
    """Give the clips on which the reading path was chosen."""
    for i, person in enumerate(people):
        for expression in ("neutral", "smiling"):
            rng = np.random.default_rng((77, i))
            frames = make(faces, person, expression, (480, 360, 240)[i % 3], rng, 0.0)
            yield Clip(f"{person}_{expression}", expression == "smiling", frames, 23, "medium", 5)


def second(faces: LondonFaces, people: tuple[str, ...]):
    """Give clips of other motion, sizes and encoder settings."""
    for fades in (0, 1):
        for i, person in enumerate(people):
            for expression in ("neutral", "smiling"):
                rng = np.random.default_rng((2024, fades, i))
                frames = make(faces, person, expression, (420, 320, 540, 272)[(i + fades) % 4], rng, 0.5 * fades)
                yield Clip(
                    f"{person}_{expression}_{fades}",
                    expression == "smiling",
                    frames,
                    (20, 26, 23)[(i + fades) % 3],
                    ("superfast", "medium", "slow", "faster")[i % 4],
                    (2, 4, 6, 7)[(i + 2 * fades) % 4],
                )


def third(faces: LondonFaces, people: tuple[str, ...]):
    """Give clips that nothing was chosen on."""
    for fades in (0, 1):
        for i, person in enumerate(people):
            for expression in ("neutral", "smiling"):
                rng = np.random.default_rng((31, 8, fades, i))
                frames = make(faces, person, expression, (288, 456, 384, 512)[(i + fades) % 4], rng, 0.5 * fades)
                yield Clip(
                    f"{person}_{expression}_{fades}",
                    expression == "smiling",
                    frames,
                    (18, 25, 28)[(i + 2 * fades) % 3],
                    ("ultrafast", "veryfast", "medium", "slower")[(i + fades) % 4],
                    (3, 5, 8)[(i + fades) % 3],
                )


SETS = {"first": first, "second": second, "third": third}


def make(
    faces: LondonFaces, person: str, expression: str, side: int, rng: np.random.Generator, crossfade: float
) -> np.ndarray:
    """Make the frames of one clip of a whole portrait."""
    photos = (faces.photo(person, name) for name in ("neutral", "smiling"))
    return face_clip(*photos, expression, FRAMES, (side, side), rng, view=0.92, crossfade=crossfade)


def write(clip: Clip, folder: Path) -> dict[str, Path]:
    """Write a clip as H.264, MJPEG and PNG stills of the frames that a reader takes."""
    paths = {"H.264": folder / f"{clip.name}.mp4", "MJPEG": folder / f"{clip.name}.avi", "PNG": folder / clip.name}
    encode(paths["H.264"], clip.frames, "libx264", "yuv420p", {"crf": str(clip.crf), "preset": clip.preset})
    encode(paths["MJPEG"], clip.frames, "mjpeg", "yuvj420p", {}, clip.quality)
    paths["PNG"].mkdir()
    for k, frame in enumerate(clip.frames[FRAMES // READ // 2 :: FRAMES // READ]):
        Image.fromarray(frame).save(paths["PNG"] / f"{k:03}.png")
    return paths


def encode(path: Path, frames: np.ndarray, codec: str, pixels: str, options: dict[str, str], quality: int = 0) -> None:
    """Write one video file."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        if quality:
            stream.codec_context.qmin = stream.codec_context.qmax = quality
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def read(preprocessor: Preprocessor, clips) -> tuple[torch.Tensor, np.ndarray]:
    """Write and read all clips: ``(clips, codecs, frames, 3, height, width)``, and which of them smile."""
    tensors, smiling = [], []
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips:
            paths = write(clip, Path(folder))
            videos = [Video(path, fps=READ * FPS / FRAMES if path.is_dir() else None) for path in paths.values()]
            tensors.append(torch.cat([preprocessor(video=video).tensors["video"] for video in videos]))
            smiling.append(clip.smiling)
    return torch.stack(tensors), np.array(smiling)


@torch.inference_mode()
def smiles(model, clips: torch.Tensor) -> np.ndarray:
    """P(smiling) of each clip and codec, from the video alone."""
    columns = [k for k, name in enumerate(model.classes) if name.endswith("smiling")]
    answers = [model(video=clip).probabilities[:, columns].sum(1) for clip in clips]
    return torch.stack(answers).double().numpy()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["ever_tiny.quadrant"], help="checkpoints or folders")
    parser.add_argument("--part", default="validation", choices=("validation", "test"), help="whose faces")
    parser.add_argument("--set", default="first,second,third", help="which sets of clips (%(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # of clips without EEG
    faces = LondonFaces(Path(os.environ.get("EVERMODELS_DATA", "../shared/data")) / "faces", crop=False)
    people = quadrant_split(faces.people)["face_id"].part(options.part)
    models = {name: em.from_pretrained(name).eval() for name in options.models}
    spec = next(iter(models.values())).input_spec
    preprocessor = Preprocessor(InputSpec(video=spec.video))  # without a length of windows: each clip is one
    print(f"P(smiling) of {len(people)} {options.part} people's clips as H.264, MJPEG and PNG\n")
    print("| weights | clips | within 0.05 | median | 90 % | largest | accuracy | NLL | confidence |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in options.set.split(","):
        clips, smiling = read(preprocessor, SETS[name](faces, people))
        for title, model in models.items():
            p = smiles(model, clips)
            apart = np.ptp(p, axis=1)
            own = np.where(smiling[:, None], p, 1 - p)
            print(
                f"| {title} | {name}, {len(clips)} | {np.mean(apart <= LIMIT):.1%} | {np.median(apart):.3f} | "
                f"{np.quantile(apart, 0.9):.3f} | {apart.max():.3f} | {np.mean(own > 0.5):.3f} | "
                f"{-np.log(own).mean():.3f} | {np.maximum(p, 1 - p).mean():.3f} |"
            )


if __name__ == "__main__":
    main()
