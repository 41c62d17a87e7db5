"""From recordings to exactly what a model takes, as its input spec says."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from evermodels.core.errors import ConfigError, SignalError
from evermodels.core.specs import EEGSpec, InputSpec, VideoSpec
from evermodels.signals.eeg.filters import recording_windows, window_events
from evermodels.signals.eeg.input import prepare_eeg
from evermodels.signals.eeg.own_level import Against, Calibration, OwnLevel, own_level
from evermodels.signals.eeg.read import EEGRecording
from evermodels.signals.eeg.whitening import Whitening
from evermodels.signals.video.faces import FaceFinder, HaarFaceCrop
from evermodels.signals.video.read import check_rate, is_number, open_video
from evermodels.signals.video.windows import Clips, read_windows, window_starts


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a model takes, window by window: ``model(**inputs.tensors)``.

    Args:
        tensors: By modality: ``"eeg"`` ``(windows, channels, time)`` in µV, ``"video"``
            ``(windows, frames, 3, height, width)`` normalised; float32.
        starts: Start of each window in seconds of the recording, ``(windows,)`` float64.
        window_seconds: Length of a window in seconds.
        dropped: Channels of the recording that the model does not take.
        quality: How well each window could be read, ``(windows,)`` by name, such as the share of frames with a face.
        notes: What the inputs cannot show, in whole sentences for people.
        against: What the EEG is compared with: ``"baseline"``, ``"recordings"`` of all states, ``"itself"`` or ``""``.
        events: What each window is a part of, such as the condition of its trial; empty where the recording has none.
        present: Which windows have a modality, ``(windows,)`` bool by modality, where some windows lack it; the rows of
            such windows hold anything.

    Example:
        >>> inputs = Inputs({"eeg": torch.zeros(3, 2, 200)}, torch.tensor([0.0, 1.0, 2.0]), 2.0)
        >>> len(inputs)
        3
    """

    tensors: dict[str, Tensor]
    starts: Tensor
    window_seconds: float
    dropped: tuple[str, ...] = field(default=())
    quality: dict[str, Tensor] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=())
    against: Against = ""
    events: tuple[str, ...] = field(default=())
    present: dict[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.starts.numel())


class Preprocessor:
    """Make a model's inputs from recordings.

    Args:
        input_spec: The model's ``input_spec``, which is saved with its checkpoint.
        face: What finds the face: ``"spec"`` (default) uses OpenCV's cascade where the spec asks for a face crop,
            ``None`` takes the whole picture, a callable is used as in :func:`~evermodels.signals.read_video`.

    Raises:
        ConfigError: If ``input_spec`` is not an :class:`~evermodels.core.specs.InputSpec`.

    Example:
        >>> spec = InputSpec(window_seconds=2.0, eeg=EEGSpec(ch_names=("Cz", "T7"), sfreq=100.0))
        >>> volts = 2e-5 * np.random.default_rng(0).standard_normal((3, 500))
        >>> inputs = Preprocessor(spec)(eeg=volts, ch_names=["EEG T3", "Fz", "CZ"], unit="V", sfreq=100, overlap=0.5)
        >>> inputs.tensors["eeg"].shape, inputs.starts.tolist(), inputs.dropped
        (torch.Size([4, 2, 200]), [0.0, 1.0, 2.0, 3.0], ('Fz',))
    """

    def __init__(self, input_spec: InputSpec, *, face: FaceFinder | Literal["spec"] | None = "spec") -> None:
        if not isinstance(input_spec, InputSpec):
            raise ConfigError(
                f"input_spec: expected an InputSpec, got {type(input_spec).__name__}. Give model.input_spec; a model "
                "without one takes tensors only."
            )
        self.input_spec = input_spec
        video = input_spec.video
        if isinstance(face, str):
            if face != "spec":
                raise ConfigError(f"face: expected 'spec', None or a callable, got {face!r}.")
            self.face: FaceFinder | None = HaarFaceCrop(video.margin) if video and video.face_crop else None
        else:
            self.face = face

    def calibrate(
        self,
        sources: Sequence[Any],
        *,
        ch_names: Sequence[str] | None = None,
        unit: str | None = None,
        sfreq: float | None = None,
    ) -> Whitening:
        """Take a person's own spectrum once, for a model whose input spec asks for it (``whiten``).

        Args:
            sources: A person's baseline, a list of one recording in the state that ``input_spec.eeg.baseline`` names;
                or for a model without one a recording of each state, each counting alike. Each as in
                :func:`~evermodels.signals.read_eeg`.
            ch_names: Names of the arrays' rows.
            unit: Unit of the arrays.
            sfreq: Sampling rate of the arrays in Hz.

        Returns:
            The filters; give them as ``baseline`` (or ``calibration``) with each recording of this person.

        Raises:
            ConfigError: If the model takes recordings as they are, or there is no recording.
            SignalError: If a recording is unusable, shorter than 10 s, or has a flat channel.

        Example:
            >>> eeg = EEGSpec(ch_names=("Cz",), sfreq=100.0, whiten=True, baseline="rest")
            >>> preprocessor = Preprocessor(InputSpec(window_seconds=2.0, eeg=eeg))
            >>> rest, task = 1e-5 * np.random.default_rng(0).standard_normal((2, 1, 3000))
            >>> form = {"ch_names": ["Cz"], "unit": "V", "sfreq": 100.0}
            >>> whitening = preprocessor.calibrate([rest], **form)
            >>> whitening
            Whitening(1 channels, 100 Hz, from 30.0 s)
            >>> preprocessor.eeg(task, baseline=whitening, **form).shape
            torch.Size([15, 1, 200])
        """
        if not self._eeg_spec().whiten:
            raise ConfigError(
                "calibration: the model's input spec has whiten=False, so it takes recordings as they are. "
                "Leave it out."
            )
        if isinstance(sources, str | os.PathLike) or not isinstance(sources, Sequence):
            raise ConfigError(
                f"calibration: expected a list of recordings or a Whitening, got {type(sources).__name__}. Put a "
                "single recording into a list."
            )
        return Whitening.fit([self._read(source, ch_names, unit, sfreq)[0] for source in sources])

    def eeg(
        self,
        source: Any,
        *,
        ch_names: Sequence[str] | None = None,
        unit: str | None = None,
        sfreq: float | None = None,
        overlap: float = 0.0,
        baseline: Any = None,
        calibration: Calibration = None,
    ) -> Tensor:
        """Return a recording's windows as the model takes them.

        Channels are picked and ordered by name (missing ones are an error, extra ones are left out; a model that was
        adapted to another montage asks for that montage's, and interpolates by itself); then notch, band-pass,
        reference, resampling, whitening, windows and scaling, as the spec says.

        Args:
            source: As in :func:`~evermodels.signals.read_eeg`.
            ch_names: Names of an array's rows.
            unit: Unit of an array.
            sfreq: Sampling rate of an array in Hz.
            overlap: Part of a window that it shares with the next, ``0 <= overlap < 1``.
            baseline: For a model that compares a person with a baseline (``input_spec.eeg.baseline``, such as
                ``"rest"``): a recording of this person in that state, of the same form; ``(start, stop)`` in seconds of
                the recording itself, which are then not read; or what :meth:`calibrate` returned. A minute is good,
                10 s are the least.
            calibration: For a model that compares a person with recordings of all states: a list of them, of the same
                form, or what :meth:`calibrate` returned.

        Returns:
            ``(windows, channels, time)`` float32 in µV (or whitened or standardised, where the spec says so).

        Raises:
            ConfigError: If the model takes no EEG, or ``overlap`` is impossible.
            SignalError: If a channel is missing, or the recording is unusable or shorter than a window.

        Warns:
            UserWarning: If the model compares a person with something and it is not given: the recording then stands in
                for it, and what it holds decides the answer.
        """
        recording, _ = self._read(source, ch_names, unit, sfreq)
        form = {"ch_names": ch_names, "unit": unit, "sfreq": sfreq}
        level = self._own_level(recording, source, form, baseline=baseline, calibration=calibration)
        return self._windows(recording, level, overlap)[0]

    def video(
        self,
        source: Any,
        *,
        windows: Sequence[tuple[float, float]] | None = None,
        fps: float | None = None,
    ) -> Tensor:
        """Return a video's clips as the model takes them.

        Args:
            source: As in :func:`~evermodels.signals.read_video`.
            windows: ``(start, stop)`` of each clip in seconds, in order of time; ``None`` for the whole video.
            fps: Pictures per second of a picture sequence.

        Returns:
            ``(clips, frames, 3, height, width)`` float32, normalised with the spec's mean and std.

        Raises:
            ConfigError: If the model takes no video, or a window is impossible.
            SignalError: If the video is unreadable, cut short, has no frame or no face, or a window is past its end.
        """
        opened = open_video(source, fps)
        if windows is None:
            windows = [(0.0, opened.duration)]
        else:
            check_rate(opened)
        return read_windows(opened, windows, self._video_spec(), self.face, otherwise="").tensor

    def __call__(
        self,
        eeg: Any = None,
        video: Any = None,
        *,
        overlap: float = 0.0,
        ch_names: Sequence[str] | None = None,
        unit: str | None = None,
        sfreq: float | None = None,
        fps: float | None = None,
        video_start: float = 0.0,
        window_seconds: float | None = None,
        baseline: Any = None,
        calibration: Calibration = None,
    ) -> Inputs:
        """Return all inputs of a model, window by window.

        Args:
            eeg: As in :func:`~evermodels.signals.read_eeg`, or ``None``.
            video: As in :func:`~evermodels.signals.read_video`, or ``None``.
            overlap: Part of a window that it shares with the next, ``0 <= overlap < 1``.
            ch_names: Names of an EEG array's rows.
            unit: Unit of an EEG array.
            sfreq: Sampling rate of an EEG array in Hz.
            fps: Pictures per second of a picture sequence.
            video_start: When the first frame was taken, in seconds of the EEG recording (default 0).
            window_seconds: Window length for video without EEG; the EEG spec's, or the whole video, by default.
            baseline: As in :meth:`eeg`.
            calibration: As in :meth:`eeg`.

        Returns:
            The tensors and the window times. With both modalities, only windows that both cover; of these, where fewer
            than half of the frames show the face, ``present["video"]`` is false. Of video alone such windows are left
            out. ``quality`` has ``face_share`` (share of the frames that show the face), ``faces`` (largest number in a
            frame) and ``crop_size`` (median width of the box in pixels), where a face is looked for.

        Raises:
            ConfigError: If nothing is given, or the model does not take what is, or windows would begin more often than
                frames come or would not fit into memory.
            SignalError: If a recording is unusable, no window of the video shows a face, or the two have no window in
                common.

        Warns:
            UserWarning: If windows are left out or read without the video, if fewer than 80 % of a window's frames show
                the face, if there are several or it is small, or as :meth:`eeg`.
        """
        if eeg is None and video is None:
            raise ConfigError(f"inputs: give at least one of {', '.join(self.input_spec.modalities)}; got none.")
        if video is not None:
            self._video_spec()
        if eeg is None:
            for name, value in (("baseline", baseline), ("calibration", calibration)):
                if value is not None:
                    raise ConfigError(f"{name}: it is for EEG, and there is none. Leave it out, or give eeg.")
            return self._video_only(video, overlap, fps, window_seconds)
        length = self._length()
        if window_seconds is not None and window_seconds != length:
            raise ConfigError(f"window_seconds: the model's EEG window is {length:g} s, got {window_seconds!r}.")
        recording, dropped = self._read(eeg, ch_names, unit, sfreq)
        form = {"ch_names": ch_names, "unit": unit, "sfreq": sfreq}
        level = self._own_level(recording, eeg, form, baseline=baseline, calibration=calibration)
        tensor, starts = self._windows(recording, level, overlap)
        tensors, clips = {"eeg": tensor}, None
        if video is not None:
            tensors["eeg"], starts, clips = self._beside(tensor, starts, video, fps, video_start)
            tensors["video"] = clips.tensor
        # A window without a face stays: what its EEG tells is answered.
        notes = tuple(dict.fromkeys((*recording.notes, *level.notes, *(clips.notes if clips else ()))))
        return Inputs(
            tensors,
            torch.from_numpy(starts),
            length,
            dropped,
            quality=clips.quality if clips else {},
            notes=notes,
            against=level.against,
            events=window_events(recording, starts),
            present={"video": clips.usable} if clips is not None and not clips.usable.all() else {},
        )

    def _beside(
        self, eeg: Tensor, starts: np.ndarray, video: Any, fps: float | None, video_start: float
    ) -> tuple[Tensor, np.ndarray, Clips]:
        """Return the EEG windows that the video covers, their starts, and their clips."""
        opened, length = open_video(video, fps), self._length()
        check_rate(opened, length)
        if not is_number(video_start):
            raise ConfigError(f"video_start: expected seconds of the EEG recording, got {video_start!r}.")
        end = opened.duration
        begins = starts - video_start
        covered = (begins >= -1e-9) & (begins + length <= end + 1e-3)
        if not covered.any():
            raise SignalError(
                f"video: it covers {video_start:.3f} to {video_start + end:.3f} s of the EEG, which holds no whole "
                f"window of {length:g} s out of the {len(starts)} of the EEG. Give a longer video or set "
                "video_start (--video-start on the command line)."
            )
        if not covered.all():
            warnings.warn(
                f"video: {int((~covered).sum())} of {len(starts)} EEG windows are left out, because the video "
                f"covers only {video_start:.3f} to {video_start + end:.3f} s.",
                stacklevel=3,
            )
        windows = [(float(max(a, 0.0)), float(min(max(a, 0.0) + length, end))) for a in begins[covered]]
        clips = self._clips(opened, windows, "there the answer is from the EEG alone")
        return eeg[torch.from_numpy(covered)], starts[covered], clips

    def _video_only(self, video: Any, overlap: float, fps: float | None, window_seconds: float | None) -> Inputs:
        opened = open_video(video, fps)
        if window_seconds is None:
            window_seconds = self.input_spec.window_seconds or opened.duration
        starts = window_starts(opened, window_seconds, overlap)
        windows = [(float(a), float(min(a + window_seconds, opened.duration))) for a in starts]
        clips = self._clips(opened, windows, "left out")
        kept = clips.usable
        return Inputs(
            {"video": clips.tensor[kept]},
            torch.from_numpy(starts)[kept],
            float(window_seconds),
            quality={name: values[kept] for name, values in clips.quality.items()},
            notes=clips.notes,
        )

    def _clips(self, opened: Any, windows: Sequence[tuple[float, float]], otherwise: str) -> Clips:
        clips = read_windows(opened, windows, self._video_spec(), self.face, otherwise=otherwise)
        for note in clips.notes:
            warnings.warn(note, stacklevel=4)
        return clips

    def _length(self) -> float:
        assert self.input_spec.window_seconds is not None  # the spec refuses EEG without it
        return self.input_spec.window_seconds

    def _eeg_spec(self) -> EEGSpec:
        if self.input_spec.eeg is None:
            raise ConfigError(
                f"eeg: the model takes no EEG, only {', '.join(self.input_spec.modalities) or 'nothing'}."
            )
        return self.input_spec.eeg

    def _video_spec(self) -> VideoSpec:
        if self.input_spec.video is None:
            raise ConfigError(
                f"video: the model takes no video, only {', '.join(self.input_spec.modalities) or 'nothing'}."
            )
        return self.input_spec.video

    def _read(
        self, source: Any, ch_names: Sequence[str] | None, unit: str | None, sfreq: float | None
    ) -> tuple[EEGRecording, tuple[str, ...]]:
        recording = prepare_eeg(
            self._eeg_spec(), source, window_seconds=self._length(), ch_names=ch_names, unit=unit, sfreq=sfreq
        )
        return recording, recording.dropped

    def _own_level(
        self, recording: EEGRecording, source: Any, form: Mapping[str, Any], *, baseline: Any, calibration: Calibration
    ) -> OwnLevel:
        def fit(sources: Any) -> Whitening:
            return self.calibrate(sources, **form)

        spec = self._eeg_spec()
        level = own_level(spec, recording, source, baseline=baseline, calibration=calibration, fit=fit)
        for note in level.notes:
            warnings.warn(f"eeg: {note}", stacklevel=3)
        return level

    def _windows(self, recording: EEGRecording, level: OwnLevel, overlap: float) -> tuple[Tensor, np.ndarray]:
        if level.whitening is not None:
            recording = level.whitening(recording)
        spec = self._eeg_spec()
        windows, starts = recording_windows(recording, self._length(), overlap)
        if level.left_out is not None:
            first, last = level.left_out
            kept = (starts + self._length() <= first + 1e-9) | (starts >= last - 1e-9)
            if not kept.any():
                raise SignalError(
                    f"eeg: nothing is left to read beside the baseline, {first:g} to {last:g} s of "
                    f"{recording.end:.1f} s; one window needs {self._length():g} s. Give a longer recording "
                    "or a shorter baseline."
                )
            windows, starts = windows[kept], starts[kept]
        if spec.scale == "zscore":
            spread = windows.std(axis=-1, keepdims=True)
            windows = (windows - windows.mean(axis=-1, keepdims=True)) / np.where(spread > 0, spread, 1)
        return torch.from_numpy(np.ascontiguousarray(windows, dtype=np.float32)), starts
