import { useState } from "react";
import { Check, Copy } from "./icons";

export function CopyButton({ text, label }: { text: string; label: string }) {
  const [copied, setCopied] = useState(false);
  // Browsers have a clipboard for pages from localhost or over HTTPS only.
  if (!navigator.clipboard) return null;
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <button type="button" className="icon-button" aria-label={copied ? "Copied" : label} title="Copy" onClick={() => void copy()}>
      {copied ? <Check /> : <Copy />}
    </button>
  );
}
