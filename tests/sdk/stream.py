"""A stream that dies half way must be an exception, never a short answer. Prints its name and what came before."""

import json

import openai

client = openai.OpenAI(max_retries=0, timeout=60)
seen = ""
try:
    for chunk in client.chat.completions.create(
        model="cut", messages=[{"role": "user", "content": "hello"}], stream=True
    ):
        seen += chunk.choices[0].delta.content or ""
    raised = None
except openai.OpenAIError as error:
    raised = [type(error).__name__, getattr(error, "code", None)]
print(json.dumps({"seen": seen, "raised": raised}))
