import { useCallback, useState } from "react";

export type Tone = "calm" | "good" | "bad";
export type StoryEvent = { id: number; at: Date; text: string; tone: Tone };

const KEPT = 30;

/** The events of this chat as plain sentences, newest last. */
export function useStory() {
  const [story, setStory] = useState<StoryEvent[]>([]);
  const tell = useCallback((text: string, tone: Tone = "calm") => {
    setStory((events) => {
      const last = events.at(-1);
      if (last?.text === text) return events;
      return [...events, { id: (last?.id ?? 0) + 1, at: new Date(), text, tone }].slice(-KEPT);
    });
  }, []);
  return { story, tell };
}
