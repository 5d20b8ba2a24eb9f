import { useState } from "react";
import { Bolt, Mark, Menu, Pencil } from "./icons";

type Props = { onNewChat: () => void; onCrash?: () => void; crashable?: boolean };

export function Header({ onNewChat, onCrash, crashable = false }: Props) {
  return (
    <header className="header">
      <button type="button" className="button chats-button" popoverTarget="chats" aria-label="Chats">
        <Menu />
      </button>
      <h1 className="brand">
        <Mark />
        <span className="name">monostream_ai</span>
      </h1>
      {onCrash && <CrashButton onCrash={onCrash} disabled={!crashable} />}
      <button type="button" className="button" data-testid="new-chat" aria-label="New chat" onClick={onNewChat}>
        <Pencil />
        <span className="wide-only">New chat</span>
      </button>
    </header>
  );
}

function CrashButton({ onCrash, disabled }: { onCrash: () => void; disabled: boolean }) {
  // Once used or dismissed, the explanation would only cover the page until the pointer leaves.
  const [dismissed, setDismissed] = useState(false);
  const crash = () => {
    setDismissed(true);
    onCrash();
  };
  return (
    <div
      className={dismissed ? "tooltip-anchor" : "tooltip-anchor explains"}
      onPointerLeave={() => setDismissed(false)}
      onKeyDown={(event) => event.key === "Escape" && setDismissed(true)}
    >
      <button type="button" className="button danger" data-testid="crash" aria-describedby="crash-tooltip" onClick={crash} disabled={disabled}>
        <Bolt />
        <span>
          Crash<span className="wide-only"> the server</span>
        </span>
      </button>
      <div className="tooltip" role="tooltip" id="crash-tooltip">
        Kills the process that writes this answer with SIGKILL, or the one that serves this page: no goodbye, no clean-up. The answer goes
        on in another process.
      </div>
    </div>
  );
}
