import { Door } from "./icons";

async function signOut() {
  await fetch("/api/sign-out", { method: "POST" });
  location.replace("/");
}

/** A guest can sign in, and a user out. A server without accounts has no `user`. */
export function Account({ user }: { user: string | null | undefined }) {
  if (user === undefined) return null;
  return (
    <div className="account">
      <p>{user ?? "You are a guest. Your chats stay in this browser; with an account, they follow you."}</p>
      {user === null ? (
        <a className="button" href={`/sign-in${location.search}`}>
          <Door /> Sign in
        </a>
      ) : (
        <button type="button" className="button" data-testid="sign-out" onClick={() => void signOut()}>
          <Door /> Sign out
        </button>
      )}
    </div>
  );
}
