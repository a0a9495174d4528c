from __future__ import annotations

from pathlib import Path

from bench.results.pictures import pictures


def test_pictures_keep_the_order_of_their_method(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "encoders" / "key" / "previews"
    assert pictures(tmp_path, "key") == []
    folder.mkdir(parents=True)
    for name in ("10_last.png", "0_input.png", "2_two_words.png", ".hidden.png", "notes.txt", "unnumbered.png"):
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n")
    found = pictures(tmp_path, "key")
    assert [picture.name for picture in found] == ["input", "two words", "last"]
    (folder / "0_input.png").unlink()
    (folder / "2_two_words.png").write_bytes(b"<html>")
    assert [picture.read() for picture in found] == [None, None, b"\x89PNG\r\n\x1a\n"]
