"""The streamed decoder: which pixels come out, what stays in memory, and what threads may do at once."""

from __future__ import annotations

import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from harness.errors import DatasetError
from harness_faces import streaming
from harness_faces.decoding import decode, fault_in, file_sizes
from harness_faces.streaming import StreamedImages

SIZE = (218, 178)
SHAPE = (3, 8, 4)  # of the made images below: 96 bytes


def smooth(seed: int = 0) -> npt.NDArray[np.uint8]:
    """RGB (218, 178, 3) without the fine detail that JPEG loses."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)


def encoded(kind: str, rgb: npt.NDArray[np.uint8]) -> bytes:
    done, data = cv2.imencode(kind, rgb[..., ::-1])
    assert done
    return bytes(data.tobytes())


def decoded(path: Path, data: bytes, size: tuple[int, int] = SIZE) -> npt.NDArray[np.uint8]:
    path.write_bytes(data)
    return decode(path, "row 3 of list.txt", SIZE, size)


class Source:
    """Images that say which row they are, and count how often each was asked for."""

    def __init__(self, count: int) -> None:
        self.times = np.zeros(count, dtype=int)
        self._lock = threading.Lock()

    def __call__(self, row: int) -> npt.NDArray[np.uint8]:
        with self._lock:
            self.times[row] += 1
        return np.full(SHAPE, row % 251, np.uint8)


def streamed(source: Source, images_kept: float) -> StreamedImages:
    return StreamedImages(source, len(source.times), SHAPE, int(images_kept * np.prod(SHAPE)))


def values(images: npt.NDArray[np.uint8]) -> list[int]:
    assert (images == images[:, :1, :1, :1]).all()
    return [int(value) for value in images[:, 0, 0, 0]]


def test_pixels_survive_png_exactly_and_jpeg_nearly(tmp_path: Path) -> None:
    rgb = smooth()
    expected = rgb.transpose(2, 0, 1)
    png = decoded(tmp_path / "a.png", encoded(".png", rgb))
    assert np.array_equal(png, expected)
    jpeg = decoded(tmp_path / "a.jpg", encoded(".jpg", rgb))
    assert np.abs(jpeg.astype(int) - expected).mean() < 3  # 8-bit levels
    assert jpeg.dtype == np.uint8
    assert jpeg.flags.c_contiguous


def test_shrinking_averages_areas(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    half = decoded(tmp_path / "a.png", encoded(".png", noise), (109, 89))
    means = noise.reshape(109, 2, 89, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    assert np.abs(half - means).max() <= 0.5


def test_grey_images_get_three_channels(tmp_path: Path) -> None:
    grey = smooth()[..., 0]
    image = decoded(tmp_path / "a.png", bytes(cv2.imencode(".png", grey)[1].tobytes()))
    assert np.array_equal(image, np.stack([grey] * 3))


def test_orientation_tags_are_ignored(tmp_path: Path) -> None:
    data = encoded(".jpg", smooth())
    # One entry: tag 0x112 (orientation), a short, once, 3 (turned by 180 degrees).
    exif = b"Exif\0\0II*\0" + struct.pack("<IHHHIII", 8, 1, 0x112, 3, 1, 3, 0)
    tagged = data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    turned = cv2.imdecode(np.frombuffer(tagged, np.uint8), cv2.IMREAD_COLOR)
    plain = decoded(tmp_path / "a.jpg", data)
    assert not np.array_equal(turned[..., ::-1].transpose(2, 0, 1), plain)  # the tag is one that cv2 obeys
    assert np.array_equal(decoded(tmp_path / "b.jpg", tagged), plain)


def test_whole_files_have_no_fault() -> None:
    jpeg, png = encoded(".jpg", smooth()), encoded(".png", smooth())
    assert fault_in(jpeg) is None
    assert fault_in(jpeg + bytes(100)) is None  # padded by an archive
    assert fault_in(png) is None


@pytest.mark.parametrize("kept", [0.02, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_truncated_files_are_found(kind: str, kept: float) -> None:
    data = encoded(kind, smooth())
    part = data[: int(kept * len(data))]
    assert "truncated" in str(fault_in(part))
    assert fault_in(part + bytes(len(data) - len(part))) is not None  # the rest never arrived


def test_thumbnail_does_not_hide_truncation() -> None:
    data = encoded(".jpg", smooth())
    thumbnail = encoded(".jpg", smooth()[:20, :20])
    with_thumbnail = data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    assert fault_in(with_thumbnail) is None
    assert fault_in(with_thumbnail[:-2]) == "is a truncated JPEG"


def test_damaged_png_is_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(".png", smooth()))
    data[len(data) // 2] ^= 1
    with pytest.raises(DatasetError, match=r"a\.png \(row 3 of list\.txt\) is a damaged PNG; fetch"):
        decoded(tmp_path / "a.png", bytes(data))
    assert capfd.readouterr() == ("", "")


def test_jpeg_without_pixels_cannot_be_decoded(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"a\.jpg \(row 3 of list\.txt\) cannot be decoded; fetch"):
        decoded(tmp_path / "a.jpg", b"\xff\xd8\xff\xe0\x00\x04ab\xff\xd9")


def test_file_sizes_are_those_of_wanted_files(tmp_path: Path) -> None:
    for name, length in (("a.jpg", 3), ("b.jpg", 5), ("c.jpg", 7)):
        (tmp_path / name).write_bytes(bytes(length))
    (tmp_path / "d.jpg").mkdir()
    (tmp_path / "e.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "f.jpg").symlink_to(tmp_path / "nowhere")
    wanted = ["a.jpg", "c.jpg", "d.jpg", "e.jpg", "f.jpg", "g.jpg"]
    assert file_sizes(tmp_path, wanted) == {"a.jpg": 3, "c.jpg": 7, "e.jpg": 3}
    with pytest.raises(DatasetError, match="cannot be read"):
        file_sizes(tmp_path / "a.jpg", wanted)


@pytest.mark.parametrize("images_kept", [0, 3, 20, 1000])
def test_rows_come_in_the_order_asked_for(images_kept: int) -> None:
    images = streamed(Source(200), images_kept)
    rng = np.random.default_rng(0)
    for length in (0, 1, 5, 70, 300):
        rows = rng.integers(0, 200, length)  # some repeat
        assert values(images.read(rows)) == rows.tolist()
        assert images.read(rows).shape == (length, *SHAPE)


def test_cache_fills_and_then_stays() -> None:
    source = Source(100)
    images = streamed(source, 30.5)  # bytes for half an image are no image
    for _ in range(3):
        for start in range(0, 100, 20):
            images.read(np.arange(start, start + 20))
    assert source.times.tolist() == [1] * 30 + [3] * 70


def test_repeated_rows_are_decoded_once_in_a_call() -> None:
    source = Source(10)
    streamed(source, 0).read(np.array([4, 4, 7, 4, 7]))
    assert source.times.tolist() == [0, 0, 0, 0, 1, 0, 0, 1, 0, 0]


def test_memory_grows_in_blocks_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "BLOCK_BYTES", 10 * 96 + 1)
    images = streamed(Source(100), 25)
    grown = [images.cached_bytes // 96]
    for row in range(100):
        images.read(np.array([row]))
        grown.append(images.cached_bytes // 96)
    assert grown == [0] + [10] * 10 + [20] * 10 + [25] * 80


def test_small_data_sets_take_no_more_than_they_need() -> None:
    images = streamed(Source(5), 1e9)
    images.read(np.arange(5))
    assert images.cached_bytes == 5 * 96


def test_what_is_returned_is_the_callers_own() -> None:
    images = streamed(Source(5), 5)
    for _ in range(3):
        batch = images.read(np.arange(5))
        assert values(batch) == [0, 1, 2, 3, 4]
        batch[:] = 99


@pytest.mark.parametrize("images_kept", [0, 50, 500])
def test_several_threads_may_read_at_once(images_kept: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "BLOCK_BYTES", 7 * 96)
    source = Source(250)
    images = streamed(source, images_kept)

    def work(seed: int) -> bool:
        rng = np.random.default_rng(seed)
        batches = [rng.integers(0, 250, 40) for _ in range(25)]
        return all(values(images.read(rows)) == rows.tolist() for rows in batches)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert images.cached_bytes <= images_kept * 96
    assert images.cached_bytes == min(images_kept, 250) * 96
    source.times[:] = 0
    images.read(np.arange(250))
    assert (source.times == 0).sum() == min(images_kept, 250)  # each kept once, none twice


def test_first_faulty_row_is_the_one_reported() -> None:
    def decode_row(row: int) -> npt.NDArray[np.uint8]:
        if row in (17, 60, 90):
            raise DatasetError(f"row {row}")
        return np.full(SHAPE, row, np.uint8)

    images = StreamedImages(decode_row, 100, SHAPE, 1 << 20)
    rng = np.random.default_rng(0)
    for _ in range(20):
        with pytest.raises(DatasetError, match="row 17"):
            images.read(rng.permutation(100))
    assert values(images.read(np.arange(17))) == list(range(17))


def test_reading_leaves_no_threads_behind() -> None:
    before = threading.active_count()
    streamed(Source(100), 0).read(np.arange(100))
    assert threading.active_count() == before


def test_rows_may_be_any_integers() -> None:
    images = streamed(Source(10), 4)
    rows: Any = [3, 9]
    assert values(images.read(rows)) == [3, 9]
    assert values(images.read(np.array([3, 9], dtype=np.int32))) == [3, 9]
