/** Server-sent events from a fetched body: EventSource can only GET. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const {done, value} = await reader.read();
      if (done) return;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        const lines = block.split("\n").filter((line) => line && !line.startsWith(":"));
        if (!lines.length) continue;
        const fields = Object.fromEntries(lines.map((line) => line.split(/: (.*)/s, 2)));
        yield {event: fields.event, data: JSON.parse(fields.data)};
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
