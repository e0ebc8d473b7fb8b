"""A site's placement.conf is understood as it is."""

from pathlib import Path

import pytest

from moorage.settings import CONSUMER_UNKNOWN, SettingsInvalid, load_settings
from moorage.telemetry.log import LogFormat

SITE = """
[DEFAULT]
debug = true
log_dir = /var/log/placement
use_journal = true
transport_url = rabbit://nova:rabbit-secret@controller

[api]
auth_strategy = noauth2

[placement_database]
connection = mysql+pymysql://placement:db-secret@controller/placement?charset=utf8&plugin=dbcounter
connection_parameters = read_timeout=30
max_pool_size = 5
max_overflow = 20
slave_connection = mysql+pymysql://placement:db-secret@replica/placement
max_retries = -1

[placement]
randomize_allocation_candidates = true
max_allocation_candidates = 1000
allocation_candidates_generation_strategy = breadth-first
incomplete_consumer_project_id = nobody

[cors]
allowed_origin = http://dashboard

[keystone_authtoken]
password = keystone-secret

[a_group_of_someone_else]
anything = goes
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    file = tmp_path / "placement.conf"
    file.write_text(SITE)
    return file


def test_a_sites_file_is_understood(site: Path) -> None:
    settings = load_settings(config_files=[site]).settings
    assert settings.api.auth_strategy == "noauth2"
    assert settings.api.cors_enabled
    assert settings.candidates.randomize
    assert settings.candidates.candidates_max == 1000
    assert settings.candidates.breadth_first
    assert settings.incomplete_project_id == "nobody"
    assert settings.incomplete_user_id == CONSUMER_UNKNOWN
    assert settings.database.connections_max == 25
    assert settings.log.debug
    assert settings.log.log_file == Path("/var/log/placement/placement.log")


@pytest.fixture
def found_drivers(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The optional drivers that are installed; none to begin with."""
    found: set[str] = set()
    monkeypatch.setattr("moorage.store.dialects.urls.find_spec", lambda name: name in found or None)
    return found


def open_url(given: str) -> str:
    overrides = {("placement_database", "connection"): given}
    return load_settings(config_files=(), overrides=overrides).settings.database.url


@pytest.mark.usefixtures("found_drivers")
def test_a_url_is_opened_with_our_driver(site: Path) -> None:
    url = load_settings(config_files=[site]).settings.database.url
    assert url == (
        "mysql+pymysql://placement:db-secret@controller/placement?charset=utf8&read_timeout=30"
    )


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("mysql://u:p@h/d", "mysql+pymysql://u:p@h/d"),
        ("mysql+pymysql://u:p%40%2F@h/d", "mysql+pymysql://u:p%40%2F@h/d"),
        ("mysql+mysqldb://u:p@h/d", "mysql+mysqldb://u:p@h/d"),
        ("mariadb://u:p@h/d", "mysql+pymysql://u:p@h/d"),
        ("postgresql://u:p@h:5432/d", "postgresql+psycopg://u:p@h:5432/d"),
        ("postgresql+psycopg2://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://u:p@h/d"),
        ("sqlite:////var/lib/p.db", "sqlite:////var/lib/p.db"),
        ("sqlite+pysqlite:////var/lib/p.db", "sqlite:////var/lib/p.db"),
    ],
)
@pytest.mark.usefixtures("found_drivers")
def test_every_spelling_of_a_url_is_accepted(given: str, opened: str) -> None:
    assert open_url(given) == opened


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("mysql+pymysql://u:p@h/d?charset=utf8", "mysql+mysqldb"),
        ("mysql://u:p@h/d?ssl_ca=/etc/ca.pem&read_timeout=30", "mysql+mysqldb"),
        ("mysql://u:p@localhost/d?unix_socket=/run/mysqld/mysqld.sock", "mysql+mysqldb"),
        # Where the two would do different things, it stays with the one that the site tried.
        ("mysql+pymysql://u:p@localhost/d", "mysql+pymysql"),
        ("mysql+pymysql://u:p@h/d?ssl_verify_identity=true", "mysql+pymysql"),
    ],
)
def test_mysqlclient_is_used_where_it_is_installed_and_does_the_same(
    given: str, driver: str, found_drivers: set[str]
) -> None:
    found_drivers.add("MySQLdb")
    assert open_url(given).partition(":")[0] == driver


def test_the_environment_wins_over_the_file(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_API__AUTH_STRATEGY", "keystone")
    monkeypatch.setenv("OS_PLACEMENT__MAX_ALLOCATION_CANDIDATES", "-1")
    settings = load_settings(config_files=[site]).settings
    assert settings.api.auth_strategy == "keystone"
    assert settings.candidates.candidates_max is None


def test_the_directory_of_the_file_can_be_named(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PLACEMENT_CONFIG_DIR", str(site.parent))
    assert load_settings().settings.incomplete_project_id == "nobody"


def test_a_named_file_that_is_missing_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_PLACEMENT_CONFIG_DIR", str(tmp_path))
    with pytest.raises(SettingsInvalid, match=r"placement\.conf"):
        load_settings()


def test_without_a_file_everything_has_a_default() -> None:
    settings = load_settings(config_files=()).settings
    assert settings.api.auth_strategy == "keystone"
    assert settings.log.log_format is LogFormat.JSON
    assert settings.candidates.candidates_max is None
    assert not settings.ignored


def test_the_embedded_default_needs_nobody_to_prepare_it(tmp_path: Path) -> None:
    overrides = {("moorage", "state_dir"): str(tmp_path)}
    database = load_settings(config_files=(), overrides=overrides).settings.database
    assert database.embedded_file == tmp_path / "moorage.db"
    assert database.upgrade_at_start


def test_a_database_that_the_site_names_is_upgraded_only_if_asked() -> None:
    named = {("placement_database", "connection"): "sqlite:////tmp/p.db"}
    asked = named | {("placement_database", "sync_on_startup"): True}
    assert not load_settings(config_files=(), overrides=named).settings.database.upgrade_at_start
    assert load_settings(config_files=(), overrides=asked).settings.database.upgrade_at_start


@pytest.mark.parametrize(
    ("size", "overflow", "most"),
    [
        (None, None, None),
        (5, 20, 25),
        (1, 0, 1),
        (5, None, 15),
        (None, 20, 25),
        (0, 20, 0),
        (5, -1, 0),
    ],
)
def test_a_site_says_how_many_connections_a_process_opens(
    size: int | None, overflow: int | None, most: int | None
) -> None:
    overrides = {
        ("placement_database", "max_pool_size"): size,
        ("placement_database", "max_overflow"): overflow,
    }
    settings = load_settings(config_files=(), overrides=overrides).settings
    assert settings.database.connections_max == most


def test_a_start_tries_to_reach_the_database_as_in_placement(site: Path) -> None:
    default = load_settings(config_files=()).settings.database
    assert (default.connect_retries_max, default.connect_pause_s) == (10, 10)
    assert load_settings(config_files=[site]).settings.database.connect_retries_max is None


def test_options_without_effect_are_told(site: Path) -> None:
    (note,) = load_settings(config_files=[site]).settings.ignored
    assert note.startswith("[placement_database]slave_connection")


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        (("api", "auth_strategy"), "open", "[api]auth_strategy"),
        (("moorage", "body_bytes_max"), "many", "[moorage]body_bytes_max"),
        (("moorage", "body_bytes_max"), 1, "[moorage]body_bytes_max"),
        (
            ("placement_database", "connection"),
            "oracle://u:db-secret@h/d",
            "[placement_database]connection",
        ),
        (("placement_database", "connection"), "db-secret", "[placement_database]connection"),
        (("placement_database", "connection"), "sqlite://", "[placement_database]connection"),
        (("placement_database", "connection"), "sqlite:///:memory:", "in a file"),
    ],
)
def test_an_error_names_the_option_and_no_secret(
    option: tuple[str, str], value: str | int, named: str
) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(config_files=(), overrides={option: value})
    assert named in str(refused.value)
    assert "db-secret" not in str(refused.value)


def test_a_value_of_the_environment_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OS_API__AUTH_STRATEGY", "open")
    with pytest.raises(SettingsInvalid, match="auth_strategy"):
        load_settings(config_files=())


def test_a_file_that_cannot_be_parsed_does_not_tell_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "placement.conf"
    file.write_text("[api]\ndb-secret without an equals sign\n")
    with pytest.raises(SettingsInvalid) as refused:
        load_settings(config_files=[file])
    assert str(file) in str(refused.value)
    assert "db-secret" not in str(refused.value)


def test_a_file_that_is_no_utf_8_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "placement.conf"
    file.write_bytes("# f\xfcr uns\n[api]\n".encode("latin-1"))
    monkeypatch.setenv("OS_PLACEMENT_CONFIG_DIR", str(tmp_path))
    with pytest.raises(SettingsInvalid, match=str(file)):
        load_settings()
    monkeypatch.delenv("OS_PLACEMENT_CONFIG_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SettingsInvalid, match=str(file)):
        load_settings()


def test_no_secret_is_in_the_repr(site: Path) -> None:
    text = repr(load_settings(config_files=[site]))
    for secret in ("db-secret", "keystone-secret", "rabbit-secret"):
        assert secret not in text
