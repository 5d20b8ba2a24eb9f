import { useEffect, useRef, useState } from "react";
import { fetchInfo, type ServerInfo } from "./api";
import type { Tone } from "./useStory";

/**
 * Who serves this page. Asked again after each outage, also one that only a stream noticed, and after each of the `crashes` that were
 * asked for: while nothing streams, the page would not notice those at all. With several servers, another one may answer.
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
        if (lastPid.current !== null && lastPid.current !== next.pid) tell(`Process ${next.pid} serves this page now.`, "good");
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
