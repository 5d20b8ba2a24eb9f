import { Mark } from "./icons";

const PROMPTS = [
  { title: "Tell me a long story", detail: "about a lighthouse keeper", text: "Tell me a long story about a lighthouse keeper." },
  { title: "What is the weather in Lisbon?", detail: "uses a tool", text: "What is the weather in Lisbon right now?" },
  { title: "How can an answer survive a crash?", detail: "asks a tool, then explains", text: "How can a streamed answer survive a crash of its server?" },
  { title: "Delete a file", detail: "asks for your approval", text: "Delete the file old.txt." },
  { title: "Search the archive", detail: "a long tool that reports its progress", text: "Search the archive for storms." },
  { title: "Draw a picture", detail: "an image in the answer", text: "Draw a picture of the lighthouse." },
  { title: "Reserve a table", detail: "a form in the answer", text: "Reserve a table for tonight." },
  { title: "Fail in mid-answer", detail: "an error, and another try", text: "Fail in mid-answer." },
];

export function EmptyState({ onPick }: { onPick: (text: string) => void }) {
  return (
    <section className="empty">
      <Mark />
      <h2>Answers that survive</h2>
      <p>Ask something. Then reload the page, open a second tab, pull the plug on your network, or crash the server while it answers.</p>
      <div className="prompts" role="group" aria-label="Suggested prompts">
        {PROMPTS.map((prompt) => (
          <button key={prompt.title} type="button" className="prompt" onClick={() => onPick(prompt.text)}>
            <strong>{prompt.title}</strong>
            <span>{prompt.detail}</span>
          </button>
        ))}
      </div>
    </section>
  );
}
