import type { DataUIPart } from "ai";
import { type FormEvent, useId } from "react";
import type { ChatData, FormData as Form, Progress } from "../api";

type Props = { part: DataUIPart<ChatData>; onSend?: (text: string) => void };

export function DataPart({ part, onSend }: Props) {
  if (part.type === "data-progress") return <ProgressBar progress={part.data} />;
  if (part.type === "data-form") return <DataForm form={part.data} onSend={onSend} />;
  return null;
}

function ProgressBar({ progress: { label, done, of } }: { progress: Progress }) {
  return (
    <label className="progress">
      {label}: {done} of {of}
      <progress value={done} max={of} />
    </label>
  );
}

/** Sends the user's entries as the next message, so a form can be filled in only while it is the last part of the chat. */
function DataForm({ form: { title, fields, submit }, onSend }: { form: Form; onSend?: (text: string) => void }) {
  const heading = useId();
  const onSubmit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const entries = [...new FormData(event.currentTarget)];
    onSend?.(entries.map(([name, value]) => `${name}: ${value}`).join(", "));
  };
  return (
    <form className="data-form" onSubmit={onSubmit} aria-labelledby={heading}>
      <fieldset disabled={!onSend}>
        <legend id={heading}>{title}</legend>
        {fields.map(({ name, options }) => (
          <label key={name}>
            {name}
            {options ? (
              <select name={name}>
                {options.map((option) => (
                  <option key={option}>{option}</option>
                ))}
              </select>
            ) : (
              <input name={name} required maxLength={80} autoComplete="off" />
            )}
          </label>
        ))}
        <button type="submit" className="button">
          {submit}
        </button>
      </fieldset>
    </form>
  );
}
