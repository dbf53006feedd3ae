"""Users who ask the experiment `planner` and rate its answers, for trying out an A/B test.

Run it beside `alignery serve run`, with a number of users: python users.py 200
"""

import random
import sys
from typing import Any

from openai import OpenAI
from rewards import arrival

EXPERIMENT = "planner"


def question(rng: random.Random) -> tuple[str, str]:
    """A question that is in no data file, since no place there has this name, and its answer."""
    minutes, takes = rng.randrange(5 * 60, 21 * 60, 5), rng.randrange(10, 60, 5)
    text = f"The train to Narvik leaves at {clock(minutes)} and takes {takes} minutes."
    return f"{text} When does it arrive?", clock(minutes + takes)


def clock(minutes: int) -> str:
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def main(users: int) -> None:
    client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
    rng = random.Random(0)
    for number in range(users):
        text, answer = question(rng)
        reply = client.chat.completions.create(
            model=EXPERIMENT,
            messages=[{"role": "user", "content": text}],
            user=f"user-{number}",  # the same user always gets the same variant
            max_tokens=48,
            temperature=0.0,
        )
        rating = arrival(reply.choices[0].message.content or "", answer)
        body = {"request_id": reply.id, "value": rating}
        client.post("/feedback", body=body, cast_to=dict[str, Any])
    print(f"{users} users have asked and rated")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
