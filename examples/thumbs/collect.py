"""Ask the endpoint, rate its answers, and add each to thumbs.jsonl: python collect.py [MODEL]."""

import json
import sys
from pathlib import Path

from openai import OpenAI

FILE = Path(__file__).parent / "thumbs.jsonl"


def record(file: Path, prompt: str, completion: str, label: bool) -> None:
    """Add a row in the form that KTO reads."""
    row = {"prompt": prompt, "completion": completion, "label": label}
    with file.open("a", encoding="utf-8") as rows:
        rows.write(json.dumps(row, ensure_ascii=False) + "\n")


def main(model: str) -> None:
    client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
    while prompt := input("question (empty: end)> ").strip():
        reply = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": prompt}], max_tokens=128
        )
        completion = reply.choices[0].message.content or ""
        print(completion)
        rating = input("good? y, n, or empty for neither> ").strip().lower()
        if rating in ("y", "n"):
            record(FILE, prompt, completion, rating == "y")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "base")
