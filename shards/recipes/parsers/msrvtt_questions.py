"""Questions about MSR-VTT in the form of VindLU and MMAction2: a JSON list per split, one entry per question.

Open ones are ``{"question_id": 0, "video": "video0.mp4", "question": "what ...", "answer": "man"}``; an answer may be a
list, when several people gave one each. Multiple choice is ``{"video": "video7.mp4", "caption": [...], "answer": 3}``
with the answer's position.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from pydantic import ValidationError

from vidflow.schema import Question
from vidflow.shards.recipes.listing import Files, Listed, json_value, split_files
from vidflow.shards.sources.items import class_name
from vidflow.shards.sources.lines import Row, raise_all


def msrvtt_qa(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the lists with their questions; a video's labels are its answers that are classes."""
    index = {name: position for position, name in enumerate(classes)}

    def question(entry: dict[str, Any]) -> Question:
        answers = [entry["answer"]] if isinstance(entry["answer"], str) else entry["answer"]
        if not answers or not entry["question"].strip():
            raise ValueError(entry)
        labels = dict.fromkeys(index[name] for name in map(class_name, answers) if name in index)
        return Question(
            id=None if entry.get("question_id") is None else str(entry["question_id"]),
            text=entry["question"],
            answers=tuple(answers),
            labels=tuple(labels),
        )

    return _videos(files, question, "'video', 'question' and 'answer'", classes)


def msrvtt_mc(files: Files, classes: Sequence[str]) -> Iterator[Listed]:
    """All videos of the list with the captions to choose from."""

    def question(entry: dict[str, Any]) -> Question:
        if type(entry["answer"]) is not int or not isinstance(entry["caption"], list):
            raise ValueError(entry)
        return Question(choices=tuple(entry["caption"]), right_choice=entry["answer"])

    return _videos(files, question, "'video', a list of 'caption' and the 'answer', its position from 0", classes)


def _videos(
    files: Files, question: Callable[[dict[str, Any]], Question], needed: str, classes: Sequence[str]
) -> Iterator[Listed]:
    problems: list[str] = []
    for split, file in split_files(files):
        questions: dict[str, list[Question]] = defaultdict(list)
        places: dict[str, str] = {}
        for position, entry in enumerate(json_value(file.path, list)):
            where = f"{file.path}: entry {position}"
            try:
                asked = question(entry)
                name = entry["video"]
                if not isinstance(name, str) or not name:
                    raise ValueError(name)
            except (AttributeError, KeyError, TypeError, ValueError, ValidationError):
                problems.append(f"{where}: no {needed} in {entry!r}")
                continue
            places.setdefault(name, where)
            questions[name].append(asked)
        for name, asked_all in questions.items():
            labels = dict.fromkeys(label for asked in asked_all for label in asked.labels)
            row = Row(places[name], name, tuple(classes[label] for label in labels), split)
            yield Listed(row, questions=tuple(asked_all))
    raise_all(problems, "entries that do not parse:")
