import { messageText, type ChatSession } from "../useChatSession";
import { Cross } from "./icons";

/** The questions that the server asks once the answer has ended. Each can be taken back into the box. */
export function Queue({ session }: { session: ChatSession }) {
  const { asks, queue, takeBack } = session;
  if (queue.length === 0) return null;
  return (
    <section className="queue" aria-label="Messages to be sent">
      <p>{asks ? "Sent after your decision and the rest of the answer:" : "Sent when the answer ends:"}</p>
      <ul>
        {queue.map(({ number, message }) => (
          <li key={number}>
            <span>{messageText(message)}</span>
            <button type="button" className="icon-button" aria-label={`Take back: ${messageText(message)}`} title="Take back" onClick={() => void takeBack(number, messageText(message))}>
              <Cross />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
