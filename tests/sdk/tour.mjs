// What an app does with the official SDK for Node, with nothing set but OPENAI_BASE_URL and a placeholder key.
import { createRequire } from "node:module";

const require = createRequire(process.env.NODE_PARTS);
const { OpenAI, NotFoundError } = require("openai");
const client = new OpenAI({ maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "hello" }];

const whole = await client.chat.completions.create({ model: "chat", messages });
let streamed = "";
for await (const chunk of await client.chat.completions.create({ model: "chat", messages, stream: true })) {
  streamed += chunk.choices[0].delta.content ?? "";
}
const unknown = await client.chat.completions
  .create({ model: "nobody", messages })
  .catch((error) => (error instanceof NotFoundError ? error.code : String(error)));
const models = [];
for await (const model of client.models.list()) models.push(model.id);
console.log(JSON.stringify({ whole: whole.choices[0].message.content, streamed, unknown, models }));
