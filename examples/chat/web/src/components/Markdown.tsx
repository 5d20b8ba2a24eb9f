import DOMPurify from "dompurify";
import { type Token, lexer, parser } from "marked";
import { memo, useMemo } from "react";

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noreferrer noopener");
});

// A model's text may hold anything. Pictures are left out because fetching one can leak the conversation in its address.
const SANITIZE = { FORBID_TAGS: ["style", "form", "img", "picture", "video", "audio", "svg"], FORBID_ATTR: ["style", "class", "id"] };

type Props = { text: string; growing: boolean };

/** Renders block by block: while text streams in, only the last block is parsed into the page again. */
export const Markdown = memo(function Markdown({ text, growing }: Props) {
  const blocks = useMemo(() => lexer(text).filter((token) => token.type !== "space"), [text]);
  return (
    <div className={growing ? "markdown growing" : "markdown"}>
      {blocks.map((token, index) => (
        <Block key={index} token={token} />
      ))}
    </div>
  );
});

const Block = memo(
  function Block({ token }: { token: Token }) {
    const html = DOMPurify.sanitize(parser([token]), SANITIZE);
    return <div className={`block ${token.type}`} dangerouslySetInnerHTML={{ __html: html }} />;
  },
  (before, after) => before.token.raw === after.token.raw && before.token.type === after.token.type,
);
