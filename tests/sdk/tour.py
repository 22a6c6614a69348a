"""What an app does with the official SDK, with nothing set but OPENAI_BASE_URL and a placeholder key."""

import json

import openai

client = openai.OpenAI(max_retries=0, timeout=60)
hello = [{"role": "user", "content": "hello"}]
told = {}

raw = client.chat.completions.with_raw_response.create(model="chat", messages=hello)
told["headers"] = {k: v for k, v in raw.headers.items() if k.startswith("x-llmroute-")}
whole = raw.parse()
told["whole"] = whole.choices[0].message.content
told["usage"] = whole.usage.total_tokens

chunks = list(client.chat.completions.create(model="chat", messages=hello, stream=True))
told["streamed"] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
told["unasked_usage"] = any(c.usage for c in chunks)
told["chunks_without_choices"] = sum(not c.choices for c in chunks)

chunks = list(
    client.chat.completions.create(
        model="chat", messages=hello, stream=True, stream_options={"include_usage": True}
    )
)
told["asked_usage"] = [c.usage.total_tokens for c in chunks if c.usage]

told["embedding"] = len(client.embeddings.create(model="embed", input="hello").data[0].embedding)
told["models"] = sorted(m.id for m in client.models.list())

try:
    client.chat.completions.create(model="nobody", messages=hello)
except openai.NotFoundError as error:
    told["unknown_model"] = error.code

told["response"] = client.responses.create(model="chat", input="hello").output_text
events = client.responses.create(model="chat", input="hello", stream=True)
told["response_events"] = [e.type for e in events][-1]

print(json.dumps(told))
