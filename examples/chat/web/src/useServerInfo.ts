import { useEffect, useRef, useState } from "react";
import { fetchInfo, type ServerInfo } from "./api";
import type { Tone } from "./useStory";

/** Who serves this page. Asked again after each outage; a new process id means that the server was restarted. */
export function useServerInfo(reachable: boolean, tell: (text: string, tone?: Tone) => void): ServerInfo | null {
  const [info, setInfo] = useState<ServerInfo | null>(null);
  const lastPid = useRef<number | null>(null);

  useEffect(() => {
    if (!reachable) return;
    let left = false;
    fetchInfo().then(
      (next) => {
        if (left) return;
        if (lastPid.current !== null && lastPid.current !== next.pid) tell(`The server is back as process ${next.pid}.`, "good");
        lastPid.current = next.pid;
        setInfo(next);
      },
      () => undefined,
    );
    return () => {
      left = true;
    };
  }, [reachable, tell]);

  return info;
}
