import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";

const NEAR = 90;

/** Keeps a scroller at its end while its content grows, unless the user has scrolled up. One without messages shows its beginning. */
export function useStickToBottom(empty: boolean) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const pinned = useRef(true);
  const isEmpty = useRef(empty);
  const [away, setAway] = useState(false);

  const pin = useCallback((isPinned: boolean) => {
    pinned.current = isPinned;
    setAway(!isPinned);
  }, []);

  useLayoutEffect(() => {
    isEmpty.current = empty;
    pin(true);
    if (empty) scroller.current?.scrollTo({ top: 0 });
  }, [empty, pin]);

  // At once: a smooth scroll goes on under a user who turns the wheel against it.
  const toBottom = useCallback(() => {
    pin(true);
    scroller.current?.scrollTo({ top: scroller.current.scrollHeight });
  }, [pin]);

  useEffect(() => {
    const box = scroller.current;
    const inner = content.current;
    if (!box || !inner) return;
    let lastTop = box.scrollTop;
    const onScroll = () => {
      const moved = box.scrollTop - lastTop;
      lastTop = box.scrollTop;
      const left = box.scrollHeight - box.scrollTop - box.clientHeight;
      // Only the user moves up, be it by the first pixels of a smooth scroll; content that shrinks stays at its end.
      if (moved < 0) pin(left < 1);
      else if (moved > 0 && left < NEAR) pin(true);
    };
    // A turn of the wheel counts at once: content that grows before the scrolling begins would undo it.
    const onWheel = (event: WheelEvent) => {
      if (event.deltaY < 0 && box.scrollTop > 0) pin(false);
    };
    const observer = new ResizeObserver(() => {
      if (isEmpty.current || !pinned.current) return;
      box.scrollTop = box.scrollHeight;
      // The event of this scroll comes later, and must not pass for the user's.
      lastTop = box.scrollTop;
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
  }, [pin]);

  return { scroller, content, away: away && !empty, toBottom };
}
