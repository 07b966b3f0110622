"""Settings: defaults, what is refused and in which words, and the environment."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from qtasks_core.config import ENV_PREFIX, QueueConfig
from qtasks_core.errors import ConfigError

DEFAULTS: dict[str, Any] = {
    "concurrency": 32,
    "queues": ("default",),
    "queue_concurrency": {},
    "priority_bands": (0,),
    "send_timeout": 30.0,
    "shutdown_timeout": 30.0,
    "lease_ttl": 5.0,
    "max_deliveries": 5,
    "retry_backoff": "exponential",
    "retry_max_delay": 300.0,
    "max_message_bytes": 8 * 1024 * 1024,
    "max_depth": 64,
    "flush_items": 512,
    "flush_bytes": 1024 * 1024,
    "buffer_items": 10_000,
    "buffer_bytes": 32 * 1024 * 1024,
    "result_ttl": 86_400.0,
    "dead_letter": True,
    "dead_letter_max": 100_000,
    "unknown_ttl": 3_600.0,
    "park_delay": 5.0,
    "generator_items": 10_000,
    "max_abandoned": None,
    "client_id": None,
    "wire_version": "1.0",
}


def test_the_defaults_are_what_is_published() -> None:
    """Nobody changes a default in passing: each is a promise to those who set nothing."""
    assert DEFAULTS == msgspec.structs.asdict(QueueConfig())


def test_settings_are_frozen() -> None:
    """Components may keep what they read."""
    config = QueueConfig()
    with pytest.raises(AttributeError, match="immutable"):
        config.concurrency = 3  # type: ignore[misc]


def test_settings_go_to_other_processes() -> None:
    """A spawned child gets the same settings."""
    config = QueueConfig(concurrency=3, queues=("a", "b"), retry_backoff=2.5)

    assert config == pickle.loads(pickle.dumps(config))  # noqa: S301  # between own processes


def test_values_become_what_the_field_says() -> None:
    """A list of queues is kept as a tuple, whole seconds as a float."""
    config = QueueConfig(queues=["a", "b"], send_timeout=3)  # type: ignore[arg-type]

    assert ("a", "b") == config.queues
    assert "3.0" == repr(config.send_timeout)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("concurrency", 0, "concurrency: expected `int` >= 1; got 0"),
        ("concurrency", "8", "concurrency: expected `int`, got `str`; got '8'"),
        ("concurrency", True, "concurrency: expected `int`, got `bool`; got True"),
        ("send_timeout", 0, "send_timeout: expected `float` > 0.0; got 0"),
        ("send_timeout", float("nan"), "send_timeout: expected `float` > 0.0; got nan"),
        ("shutdown_timeout", -1, "shutdown_timeout: expected `float` >= 0.0; got -1"),
        ("max_message_bytes", None, "max_message_bytes: expected `int`, got `null`; got None"),
        ("dead_letter", 1, "dead_letter: expected true or false; got 1"),
        ("retry_backoff", "linear", "retry_backoff: expected seconds, 0 or more, or 'exponential'; got 'linear'"),
        ("retry_backoff", -1, "retry_backoff: expected seconds, 0 or more, or 'exponential'; got -1"),
        ("queues", "high", "queues: expected a list of names, none of them empty; got 'high'"),
        ("queues", ("a", ""), "queues: expected a list of names, none of them empty; got ('a', '')"),
        ("queues", (), "queues: expected at least one name, got ()"),
        (
            "priority_bands",
            (0, 128),
            "priority_bands: expected a list of whole numbers from -128 to 127; got (0, 128)",
        ),
        ("priority_bands", (-5, 5), "priority_bands: expected bands that hold 0, got (-5, 5)"),
        ("client_id", "", "client_id: expected a text that is not empty; got ''"),
        (
            "max_abandoned",
            0,
            "max_abandoned: expected a whole number, 1 or more, or nothing: then it is concurrency; got 0",
        ),
        ("wire_version", "2.0", "wire_version: expected '1.0', the only version there is; got '2.0'"),
    ],
)
def test_a_wrong_value_is_refused_with_field_expectation_and_value(field: str, value: Any, message: str) -> None:
    """ConfigError (a ValueError): no app is built with it."""
    with pytest.raises(ConfigError) as caught:
        QueueConfig(**{field: value})

    assert message == str(caught.value)


def test_a_field_that_does_not_exist_is_named() -> None:
    """As for any call with an unknown keyword."""
    with pytest.raises(TypeError, match="Unexpected keyword argument 'concurency'"):
        QueueConfig(concurency=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("CONCURRENCY", "8", 8),
        ("QUEUES", "high, low,,default", ("high", "low", "default")),
        ("PRIORITY_BANDS", "-10,0,10", (-10, 0, 10)),
        ("SEND_TIMEOUT", "2.5", 2.5),
        ("DEAD_LETTER", "false", False),
        ("DEAD_LETTER", "1", True),
        ("RETRY_BACKOFF", "2", 2.0),
        ("RETRY_BACKOFF", "exponential", "exponential"),
        ("MAX_ABANDONED", "4", 4),
        ("CLIENT_ID", "web-1", "web-1"),
        ("CLIENT_ID", "17", "17"),
    ],
)
def test_each_field_is_read_from_its_variable(variable: str, text: str, expected: Any) -> None:
    """QTASKS_<FIELD>; lists are separated by commas."""
    config = QueueConfig.from_env({ENV_PREFIX + variable: text, "CONCURRENCY": "99", "QTASKS_NO_SUCH": "x"})

    assert expected == getattr(config, variable.lower())
    assert config == QueueConfig(**{variable.lower(): expected})


def test_every_field_can_be_set_by_the_environment() -> None:
    """Also one that is added later."""
    texts = {
        name: ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
        for name, value in msgspec.structs.asdict(QueueConfig(max_abandoned=3, client_id="me")).items()
        if name != "queue_concurrency"
    } | {"queue_concurrency": "slow=2, mail=4"}
    environ = {ENV_PREFIX + name.upper(): text for name, text in texts.items()}

    expected = QueueConfig(max_abandoned=3, client_id="me", queue_concurrency={"slow": 2, "mail": 4})
    assert expected == QueueConfig.from_env(environ)


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """from_env() without arguments; what is not set has its default."""
    monkeypatch.setenv("QTASKS_CONCURRENCY", "5")

    assert QueueConfig(concurrency=5) == QueueConfig.from_env()


def test_an_override_goes_before_the_environment() -> None:
    """The variable is not even read, so a wrong one does no harm."""
    config = QueueConfig.from_env({"QTASKS_CONCURRENCY": "wrong"}, concurrency=2)

    assert 2 == config.concurrency


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("CONCURRENCY", "many", "QTASKS_CONCURRENCY: expected `int`, got `str`; got 'many'"),
        ("CONCURRENCY", "0", "QTASKS_CONCURRENCY: expected `int` >= 1; got '0'"),
        ("DEAD_LETTER", "yes", "QTASKS_DEAD_LETTER: expected true or false; got 'yes'"),
        (
            "RETRY_BACKOFF",
            "linear",
            "QTASKS_RETRY_BACKOFF: expected seconds, 0 or more, or 'exponential'; got 'linear'",
        ),
        (
            "PRIORITY_BANDS",
            "0,x",
            "QTASKS_PRIORITY_BANDS: expected a list of whole numbers from -128 to 127; got '0,x'",
        ),
        ("QUEUES", " ", "queues: expected at least one name, got ()"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, text: str, message: str) -> None:
    """The message names the variable, so that it is found where it was set."""
    with pytest.raises(ConfigError) as caught:
        QueueConfig.from_env({ENV_PREFIX + variable: text})

    assert message == str(caught.value)
