import type { ServerInfo, StreamStatus } from "../api";
import type { Outage } from "../useChatSession";
import type { StoryEvent } from "../useStory";
import type { Reach } from "../useStreamStatus";
import { Chevron } from "./icons";

type Props = {
  reach: Reach;
  outage: Outage | null;
  busy: boolean;
  status: StreamStatus | null;
  story: StoryEvent[];
  info: ServerInfo | null;
  /** The process that writes or wrote the last answer. */
  writer: number | undefined;
};

const REACH_LABELS: Record<Reach, string> = { connected: "Connected", reconnecting: "Reconnecting…", offline: "Offline" };
const BACKENDS: Record<string, string> = { sqlite: "SQLite", postgresql: "PostgreSQL", memory: "in memory" };

/** The current state in one sentence: a lasting problem comes before the latest event. */
function headline({ reach, outage, busy, status, story }: Props): string {
  if (reach === "offline") return "Cannot reach the server. Everything shown so far is stored, and the page will reconnect on its own.";
  if (outage) return `${outage.text} Everything shown so far is stored.`;
  if (busy && status && status.state === "open" && status.attempt > 1) return "The server stopped in mid-answer. Another one took the answer over.";
  return story.at(-1)?.text ?? "Every chunk of an answer is stored before it is shown.";
}

export function StatusBar(props: Props) {
  const { reach, status, story, info, writer } = props;
  return (
    <section className="status" aria-label="Stream status">
      <p className="headline" role="status" aria-live="polite">
        {headline(props)}
      </p>
      <div className="facts">
        <span className={`reach ${reach}`} data-testid="status-connection" data-state={reach}>
          {REACH_LABELS[reach]}
        </span>
        <span data-testid="status-version" data-value={status?.version ?? ""}>
          {status?.version == null ? "no version yet" : `version ${status.version}`}
        </span>
        <span data-testid="status-chunks" data-value={status?.chunks ?? 0}>
          <b>{status?.chunks ?? 0}</b> chunks<span className="wide-only"> stored</span>
        </span>
        {info && (
          <span className="wide-only" data-testid="status-process" data-value={writer ?? info.pid}>
            {info.model} · {BACKENDS[info.backend] ?? info.backend} · {writer ? `written by ${writer}` : `process ${info.pid}`}
          </span>
        )}
        {story.length > 0 && <Log story={story} />}
      </div>
    </section>
  );
}

function Log({ story }: { story: StoryEvent[] }) {
  return (
    <>
      <button type="button" className="log-button" popoverTarget="log">
        <span className="wide-only">What happened</span>
        <span className="narrow-only">Log</span>
        <Chevron />
      </button>
      <div className="log" id="log" popover="auto" role="region" tabIndex={0} aria-label="What happened, newest first">
        <ol>
          {story.toReversed().map((event) => (
            <li key={event.id} className={event.tone}>
              <time dateTime={event.at.toISOString()}>{event.at.toLocaleTimeString([], { hour12: false })}</time>
              {event.text}
            </li>
          ))}
        </ol>
      </div>
    </>
  );
}
