import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

const NEAR = 90;

const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Keeps a scroller at its end while its content grows, unless the user has scrolled up. One without messages shows its beginning. */
export function useStickToBottom(empty: boolean) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const pinned = useRef(true);
  const [away, setAway] = useState(false);

  useLayoutEffect(() => {
    pinned.current = !empty;
    if (empty) scroller.current?.scrollTo({ top: 0 });
  }, [empty]);

  const toBottom = useCallback((behavior: ScrollBehavior = "instant") => {
    pinned.current = true;
    setAway(false);
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight, behavior: isCalm() ? "instant" : behavior });
  }, []);

  useEffect(() => {
    const box = scroller.current;
    const inner = content.current;
    if (!box || !inner) return;
    let lastTop = box.scrollTop;
    const onScroll = () => {
      const left = box.scrollHeight - box.scrollTop - box.clientHeight;
      const up = box.scrollTop < lastTop;
      // Only the user moves up, be it by the first pixels of a smooth scroll; content that shrinks stays at its end, and
      // content that grows moves the end away by itself.
      if (!empty && left < (up ? 1 : NEAR)) pinned.current = true;
      else if (up) pinned.current = false;
      lastTop = box.scrollTop;
      setAway(!pinned.current && !empty);
    };
    // A turn of the wheel counts at once: content that grows before the scrolling begins would undo it.
    const onWheel = (event: WheelEvent) => {
      if (event.deltaY < 0 && box.scrollTop > 0) pinned.current = false;
    };
    const observer = new ResizeObserver(() => {
      if (pinned.current) box.scrollTop = box.scrollHeight;
    });
    observer.observe(inner);
    observer.observe(box);
    box.addEventListener("scroll", onScroll, { passive: true });
    box.addEventListener("wheel", onWheel, { passive: true });
    return () => {
      observer.disconnect();
      box.removeEventListener("scroll", onScroll);
      box.removeEventListener("wheel", onWheel);
    };
  }, [empty]);

  return { scroller, content, away, toBottom };
}
