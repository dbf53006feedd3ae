"""Chat templates that show tools and their calls, and rows with tools."""

import json
from typing import Any

#: Shows tools and calls as Qwen's templates do.
TOOL_TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}"
    "{% for call in message.tool_calls or [] %}"
    "{{ call.function.name }} {{ call.function.arguments | tojson }}{% endfor %}"
    "<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"type": "function", **{"function": function}}],
    }


def tool_row(number: int) -> dict[str, Any]:
    """A conversational row; every third has no tools, and calls differ in their arguments."""
    asked = {"role": "user", "content": f"What is {number} + 3?"}
    answers = {
        "completion": [{"role": "assistant", "content": "yes"}],
        "chosen": [{"role": "assistant", "content": "yes"}],
        "rejected": [{"role": "assistant", "content": "no"}],
        "label": number % 2 == 0,
    }
    if number % 3 == 0:
        return {"prompt": [asked], **answers}
    called = call("add", a=number) if number % 3 == 1 else call("look", where=["x", number])
    turns = [{**asked, "tools": json.dumps([tool("add"), tool("look")])}, called]
    return {"prompt": [*turns, {"role": "tool", "content": str(number + 3)}], **answers}
