"""A log of its own for each test that asks for one."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from moorage.telemetry import log

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    """The process's log, in JSON and in detail, in a file; afterwards all is as before."""
    loggers = [logging.getLogger()] + [
        logger
        for logger in logging.Logger.manager.loggerDict.values()
        if isinstance(logger, logging.Logger)
    ]
    before = [(item, item.handlers[:], item.level, item.propagate) for item in loggers]
    rest = (logging.lastResort, logging.raiseExceptions, log._log, structlog.get_config())
    bundles_before, log._bundles = log._bundles, None
    file = tmp_path / "log.json"
    log.configure_log(debug=True, log_file=file)
    yield file
    if log._bundles is not None:
        log._bundles.close()
    log._bundles = bundles_before
    logging.captureWarnings(False)
    logging.lastResort, logging.raiseExceptions, log._log, configuration = rest
    structlog.configure(**configuration)
    for logger, handlers, level, propagate in before:
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


@pytest.fixture
def lines(log_file: Path) -> Lines:
    """All lines of the log so far, parsed."""

    def read() -> list[dict[str, Any]]:
        log.write_pending()
        return [json.loads(line) for line in log_file.read_text().splitlines()]

    return read
