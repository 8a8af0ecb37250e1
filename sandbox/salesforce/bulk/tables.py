"""CSV as a job takes and gives it: separators, line ends, quotes, and what makes an upload unfit."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from sandbox.salesforce.bulk.jobs import Job

Row = list[str]

# doc: limits of a record
MOST_COLUMNS, LONGEST_FIELD, LONGEST_ROW = 5_000, 32_000, 400_000
BARE_LF = re.compile(r"(?<!\r)\n")


@dataclass
class Upload:
    """What came: the header, the rows (read once), and what is wrong with it, known after reading."""

    header: Row
    rows: Iterator[Row]
    flaws: list[str] = field(default_factory=list)


def read(job: Job, body: bytes, *, skip_mark: bool, breaks: str) -> Upload:
    """Take an upload apart. skip_mark: a byte order mark is no part of the first name.

    breaks: which line breaks are compared with the job's line ending: "records", or "anywhere".
    The rows of an unfit upload are read as well as they can be: they are the job's unprocessed records.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        # unconfirmed wording
        return Upload([], iter(()), ["ClientInputError : Failed to read the data: it is not UTF-8"])
    if skip_mark:
        text = text.removeprefix("\ufeff")
    upload = Upload([], iter(()))
    if _other_breaks(job, text, breaks):  # recorded: the text
        upload.flaws.append(
            f"ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {job.line_ending}"
        )
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=job.separator, strict=True)
    try:
        upload.header = next(reader, [])
    except csv.Error as error:
        upload.flaws.append(_unreadable(1, error))
        return upload
    if len(upload.header) > MOST_COLUMNS:
        upload.flaws.append(f"InvalidBatch : more than {MOST_COLUMNS} fields in a record")
    upload.rows = _rows(reader, upload)
    return upload


def _other_breaks(job: Job, text: str, breaks: str) -> bool:
    parts = text.split('"')[::2] if breaks == "records" else [text]  # each second part lies outside of quotes
    if job.line_ending == "LF":
        return any("\r\n" in part for part in parts)
    return any(BARE_LF.search(part) for part in parts)


def _rows(reader: Iterator[Row], upload: Upload) -> Iterator[Row]:
    width, line = len(upload.header), 1
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            upload.flaws.append(_unreadable(line + 1, error))
            return
        if row is None:
            return
        if not row:  # an empty line
            continue
        line += 1
        if len(row) != width:  # unconfirmed wording
            upload.flaws.append(
                f"ClientInputError : Row {line} has {len(row)} values, but the header has {width} fields"
            )
            row = (row + [""] * width)[:width]
        if sum(map(len, row)) > LONGEST_ROW or any(len(value) > LONGEST_FIELD for value in row):
            upload.flaws.append(f"ClientInputError : Row {line} is longer than a record or a field may be")
        yield row


def _unreadable(line: int, error: Exception) -> str:
    return f"InvalidBatch : Failed to parse CSV at record {line}: {error}"  # unconfirmed wording


def line(job: Job, values: Iterable[str]) -> str:
    """One line of a result: every value in quotes (doc: the examples)."""
    return job.separator.join('"' + value.replace('"', '""') + '"' for value in values) + job.line_break


def lines(job: Job, header: Sequence[str], rows: Iterable[Sequence[str]]) -> bytes:
    return "".join([line(job, header), *(line(job, row) for row in rows)]).encode("utf-8")
