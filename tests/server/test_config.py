"""Settings: the first place that names one wins, and each that is wrong is told in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from exemplar_server.config import ConfigError, load_settings

NEEDED = {"bundle": Path("b"), "data_dir": Path("d")}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"address": "nonsense"}, "address is wrong: it must be HOST:PORT"),
        ({"address": "host:70000"}, "address is wrong: it must be HOST:PORT"),
        ({"engine": "steam"}, "engine is wrong: .*it is 'steam'.*--engine or EXEMPLAR_ENGINE"),
        ({"max_batch": 0}, "max_batch is wrong: .*--max-batch or EXEMPLAR_MAX_BATCH"),
        ({"tls_key": Path("key.pem")}, "tls_certificate and tls_key go together"),
        ({"drain_seconds": -1.0}, "drain_seconds is wrong"),
        ({"heating": True}, "heating is no setting of the server's"),
    ],
)
def test_a_wrong_setting_is_told_in_a_sentence(flags: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_settings({**NEEDED, **flags})


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml cannot be read"):
        load_settings(NEEDED, tmp_path / "missing.toml")
    (tmp_path / "bad.toml").write_text("max_batch = ")
    with pytest.raises(ConfigError, match=r"bad\.toml is not TOML"):
        load_settings(NEEDED, tmp_path / "bad.toml")


def test_flags_win_over_the_environment_which_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.toml").write_text("max_batch = 3\nqueue_capacity = 33\nmax_batch_items = 7\n")
    monkeypatch.setenv("EXEMPLAR_QUEUE_CAPACITY", "44")
    monkeypatch.setenv("EXEMPLAR_MAX_BATCH_ITEMS", "8")
    settings = load_settings({**NEEDED, "max_batch_items": 9}, tmp_path / "server.toml")
    assert (settings.max_batch, settings.queue_capacity, settings.max_batch_items) == (3, 44, 9)


def test_a_token_is_never_shown() -> None:
    settings = load_settings({**NEEDED, "token": "hush-hush"})
    assert "hush-hush" not in repr(settings)
    assert "hush-hush" not in str(settings.shown())


def test_a_store_or_a_folder_is_needed_and_not_two_folders() -> None:
    with pytest.raises(ConfigError, match="data_dir is missing: give --data-dir"):
        load_settings({"bundle": "b"})
    with pytest.raises(ConfigError, match="the store is a folder already"):
        load_settings({"bundle": "b", "data_dir": "d", "store": "sqlite:e"})
    assert load_settings({"bundle": "b", "data_dir": "d"}).store_url == "sqlite:d"
    assert (
        load_settings({"bundle": "b", "data_dir": "d", "store": "postgresql://h/d"}).store_url == "postgresql://h/d"
    )


@pytest.mark.parametrize(
    "setting", [("store", "mysql://h/d"), ("store", "sqlite:"), ("index", "faiss"), ("index", "milvus:h")]
)
def test_a_store_or_an_index_of_no_kind_is_refused_with_the_kinds_there_are(setting: tuple[str, str]) -> None:
    name, value = setting
    with pytest.raises(ConfigError, match=f"{name} is wrong: it must be .*; it is set with --{name} or EXEMPLAR_"):
        load_settings({"bundle": "b", "data_dir": "d", name: value})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@h/d",
        "postgresql://h/d?user=me&password=secret&x=y",
        "postgresql://me:a/secret@h/d",
        "postgresql://me:a@secret@h/d",
    ],
)
def test_a_password_in_the_store_s_address_is_never_shown(url: str) -> None:
    settings = load_settings({"bundle": "b", "store": url})
    assert "secret" not in str(settings.shown()) + repr(settings)
    assert "h/d" in str(settings.shown()["store"])
    with pytest.raises(ConfigError) as refused:
        load_settings({"bundle": "b", "store": url.replace("postgresql", "mysql")})
    assert "secret" not in str(refused.value)
