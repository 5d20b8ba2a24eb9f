import { Door } from "./icons";

/** The same address then shows the sign-in form. */
async function signOut() {
  await fetch("/api/sign-out", { method: "POST" });
  location.reload();
}

export function SignOut() {
  return (
    <button type="button" className="button" data-testid="sign-out" aria-label="Sign out" onClick={() => void signOut()}>
      <Door />
      <span className="wide-only">Sign out</span>
    </button>
  );
}
