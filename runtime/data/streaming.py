"""The data sets of a run that reads while it trains: sources opened and looked at, and nothing else done beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from runtime.config.data import DataSettings, SourceSettings
from runtime.data.dataset import DataReport, Datasets, Sample, held_out_of
from runtime.data.encoded import MaskRules
from runtime.data.encoder import CHECKED, SampleEncoder
from runtime.data.files import Place, Row, find_files, rows_of_numbered
from runtime.data.formats import LOOKED_AT, choose_format, read_row
from runtime.data.hub import rows_of_hub
from runtime.data.lines import Lines, Say, open_lines, silent
from runtime.data.order import ENDLESS
from runtime.data.records import Quarantined, Record
from runtime.data.rows import ForwardRows, LineRows, Rows, rows_of_pipe
from runtime.data.rules import Taken, admitted
from runtime.data.streamed import Stream, StreamedSamples
from runtime.errors import DataError

_WINDOWS_KEPT = 2


def open_datasets(
    data: DataSettings,
    tokenizer: Any,
    *,
    window: int,
    workers: int = 1,
    base: Path = Path(),
    examples: int = 1,
    report: Callable[[Quarantined], None] = lambda _: None,
    say: Say = silent,
) -> Datasets:
    """Open what `[data]` names for streaming; held-out data are read whole. Relative paths start at `base`.

    `window` samples change places in a stream that only goes forwards; `workers` share the sources. Raises DataError
    for what is missing or cannot be streamed, and for a mask that would learn everything or nothing.
    """
    encoder = SampleEncoder(tokenizer, MaskRules(data.mask, data.train_on_stop), data.system)
    rows = [_open(data, source, base, window, workers, say) for source in data.sources]
    if len(rows) > 1 and any(one.count == ENDLESS for one in rows):
        raise DataError(
            "data.source: a pipe or a stream of the hub is the only source of a run; make files of the rest"
        )
    streams, reasons, first = [], [], list[Sample]()
    for at, (source, one) in enumerate(zip(data.sources, rows, strict=True)):
        early = [row for row in map(one.row, range(min(LOOKED_AT, one.count))) if row is not None]
        chosen, reason = choose_format(early, source.format, source.columns)
        records = [
            read for read in (read_row(row, chosen, source.columns) for row in early) if isinstance(read, Record)
        ]
        encoder.check([record.content for record in records[:CHECKED]])
        first += _examples(data, encoder, records[: examples - len(first)], at)
        streams.append(Stream(one, chosen, dict(source.columns)))
        reasons.append(reason)
    kept = max(_WINDOWS_KEPT * window, LOOKED_AT)
    samples = StreamedSamples(data, streams, encoder, kept=kept, report=report)
    if not len(samples):
        raise DataError("no training sample is there: the files of data.source are empty")
    held_out, prompts, bad = held_out_of(data, encoder, base)
    found = DataReport(
        files=tuple(name for source in data.sources for name in [source.path]),
        format_reason="; ".join(dict.fromkeys(reasons)),
        mask_method=encoder.method,
        train_samples=len(samples),
        held_out_samples=len(held_out),
        quarantined=len(bad),
        streamed=True,
    )
    return Datasets(samples, held_out, prompts, bad, found, samples.sizes, tuple(first[:examples]))


def _examples(data: DataSettings, encoder: SampleEncoder, records: list[Record], source: int) -> Iterator[Sample]:
    for record, encoded in zip(records, encoder.encode([each.content for each in records]), strict=True):
        match admitted(data, record, encoded):
            case Taken(encoded=taken):
                yield Sample(record, taken, source)


def _open(data: DataSettings, source: SourceSettings, base: Path, window: int, workers: int, say: Say) -> Rows:
    """The rows of one source, by what its places are. Raises DataError for a place that cannot be streamed."""
    cache_dir, kept = Path(data.cache_dir).expanduser(), max(_WINDOWS_KEPT * window, _WINDOWS_KEPT * LOOKED_AT)
    pipe = base / Path(source.path).expanduser()
    if pipe.is_fifo():
        if workers > 1:
            raise DataError(f"data.source.path: {pipe} is a pipe, which one worker can read, not {workers}")
        return ForwardRows(str(pipe), partial(rows_of_pipe, pipe), kept, once=True)
    places = find_files(source.path, base)
    if isinstance(places[0], str):
        return ForwardRows(places[0], partial(_hub_rows, places[0], cache_dir), kept)
    return LineRows(Lines([open_lines(_streamable(place), cache_dir, say) for place in places]))


def _hub_rows(name: str, cache_dir: Path) -> Iterator[Row]:
    return rows_of_numbered(name, rows_of_hub(name, cache_dir, streaming=True))


def _streamable(place: Place) -> Path:
    path = Path(place)
    if path.suffix != ".jsonl":
        raise DataError(
            f"data.source.path: {path} cannot be read line by line; convert it to .jsonl, or set data.streaming = false"
        )
    return path
