import hljs from "highlight.js/lib/core";
import bash from "highlight.js/lib/languages/bash";
import css from "highlight.js/lib/languages/css";
import json from "highlight.js/lib/languages/json";
import python from "highlight.js/lib/languages/python";
import sql from "highlight.js/lib/languages/sql";
import typescript from "highlight.js/lib/languages/typescript";
import xml from "highlight.js/lib/languages/xml";
import yaml from "highlight.js/lib/languages/yaml";
import { useMemo } from "react";
import { CopyButton } from "./CopyButton";

for (const [name, language] of Object.entries({ bash, css, json, python, sql, typescript, xml, yaml })) hljs.registerLanguage(name, language);
hljs.registerAliases(["js", "javascript", "jsx"], { languageName: "typescript" });

export function Code({ text, language = "" }: { text: string; language?: string }) {
  const colored = useMemo(() => (hljs.getLanguage(language) ? hljs.highlight(text, { language }).value : null), [text, language]);
  return (
    <div className="block code" data-language={language}>
      <CopyButton text={text} label="Copy the code" />
      <pre tabIndex={0} role="group" aria-label="Code">
        {/* highlight.js escapes the text. */}
        {colored === null ? <code>{text}</code> : <code dangerouslySetInnerHTML={{ __html: colored }} />}
      </pre>
    </div>
  );
}
