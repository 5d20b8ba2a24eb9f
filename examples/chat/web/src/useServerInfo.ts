import { useEffect, useRef, useState } from "react";
import { fetchInfo, type ServerInfo } from "./api";
import type { Tone } from "./useStory";

/**
 * The server process behind this page. Fetched again after each outage, even one that only a stream noticed, and after each crash
 * that the user asked for, which an idle page would not notice. With several servers, another one may answer.
 */
export function useServerInfo(reachable: boolean, crashes: number, tell: (text: string, tone?: Tone) => void): ServerInfo | null {
  const [info, setInfo] = useState<ServerInfo | null>(null);
  const lastPid = useRef<number | null>(null);

  useEffect(() => {
    if (!reachable) return;
    let left = false;
    fetchInfo().then(
      (next) => {
        if (left) return;
        if (lastPid.current !== null && lastPid.current !== next.pid) tell(`Process ${next.pid} now serves this page.`, "good");
        lastPid.current = next.pid;
        setInfo(next);
      },
      () => undefined,
    );
    return () => {
      left = true;
    };
  }, [reachable, crashes, tell]);

  return info;
}
