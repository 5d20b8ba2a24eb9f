import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App";
import "./styles/base.css";
import "./styles/page.css";
import "./styles/chats.css";
import "./styles/messages.css";
import "./styles/composer.css";
import "./styles/status.css";

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
