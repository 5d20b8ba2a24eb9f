import DOMPurify from "dompurify";
import { type Token, type Tokens, lexer, parser } from "marked";
import { memo, useMemo } from "react";
import remend from "remend";
import { Code } from "./Code";

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName !== "A") return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noreferrer noopener");
});

// A model's text may contain anything. Images are left out, because the URL of one can leak the conversation.
const SANITIZE = { FORBID_TAGS: ["style", "form", "img", "picture", "video", "audio", "svg"], FORBID_ATTR: ["style", "class", "id"] };

type Props = { text: string; growing: boolean };

/**
 * Renders block by block: while text streams in, only the last block is rendered again. Marks that are still open at the end of the
 * text are closed, so they do not flicker.
 */
export const Markdown = memo(function Markdown({ text, growing }: Props) {
  const blocks = useMemo(() => outlined(lexer(growing ? remend(text) : text).filter((token) => token.type !== "space")), [text, growing]);
  return (
    <div className={growing ? "markdown growing" : "markdown"}>
      {blocks.map((token, index) => (
        <Block key={index} token={token} />
      ))}
    </div>
  );
});

const isHeading = (token: Token): token is Tokens.Heading => token.type === "heading";

const depth = (token: Token) => (isHeading(token) ? token.depth : 0);

/** Shifts the headings so that they fit in the outline of the page, below its title. */
function outlined(blocks: Token[]): Token[] {
  const highest = Math.min(...blocks.filter(isHeading).map(({ depth }) => depth));
  return blocks.map((token) => (isHeading(token) ? { ...token, depth: Math.min(6, token.depth - highest + 2) } : token));
}

const Block = memo(
  function Block({ token }: { token: Token }) {
    if (token.type === "code") return <Code text={token.text} language={token.lang} />;
    const html = DOMPurify.sanitize(parser([token]), SANITIZE);
    // A wide table scrolls, with the arrow keys too if it can have the focus.
    const scrolls = token.type === "table" ? { tabIndex: 0, role: "group", "aria-label": "Table" } : {};
    return <div className={`block ${token.type}`} {...scrolls} dangerouslySetInnerHTML={{ __html: html }} />;
  },
  ({ token: before }, { token: after }) => before.raw === after.raw && before.type === after.type && depth(before) === depth(after),
);
