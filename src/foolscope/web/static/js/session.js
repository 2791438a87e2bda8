// @ts-check
/** Signing in on a server that wants a token. */
import { ask, told } from "./api.js";
import { html, useSignal } from "./base.js";
import { Problem } from "./shell.js";

/** @param {{onDone: () => void}} props */
export function SignIn({ onDone }) {
  const token = useSignal("");
  const problem = useSignal("");
  const send = async (/** @type {Event} */ event) => {
    event.preventDefault();
    problem.value = "";
    try {
      await ask("/session", { method: "POST", json: { token: token.value.trim() } });
      onDone();
    } catch (error) {
      problem.value = told(error);
    }
  };
  return html`
    <main class="page narrow">
      <p class="eyebrow">foolscope</p>
      <h1>Sign in</h1>
      <form class="card" onSubmit=${send}>
        <label class="field"><span>Token</span><input
          type="password" autocomplete="current-password" value=${token.value}
          onInput=${(/** @type {any} */ event) => (token.value = event.currentTarget.value)}
        /><small>whoever started the server knows it</small></label>
        <button type="submit" class="button primary wide">Sign in</button>
        <${Problem} text=${problem.value} />
      </form>
    </main>
  `;
}
