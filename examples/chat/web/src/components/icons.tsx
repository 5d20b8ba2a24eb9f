import type { ReactNode } from "react";

const icon = (drawing: ReactNode) =>
  function Icon() {
    return (
      <svg className="icon" viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" strokeWidth="1.9" strokeLinecap="round" strokeLinejoin="round">
        {drawing}
      </svg>
    );
  };

export const ArrowUp = icon(<path d="M12 19V5M5.5 11.5 12 5l6.5 6.5" />);
export const ArrowDown = icon(<path d="M12 5v14M5.5 12.5 12 19l6.5-6.5" />);
export const Square = icon(<rect x="4.5" y="4.5" width="15" height="15" rx="3" fill="currentColor" stroke="none" />);
export const Pencil = icon(<path d="M12 5.5H7A2.5 2.5 0 0 0 4.5 8v9A2.5 2.5 0 0 0 7 19.5h9a2.5 2.5 0 0 0 2.5-2.5v-5M10.5 13.5l.6-2.6 7.3-7.3a1.4 1.4 0 0 1 2 2l-7.3 7.3z" />);
export const Bolt = icon(<path d="M13 3 5.5 13.5H12L11 21l7.5-10.5H12z" />);
export const Menu = icon(<path d="M4.5 7h15M4.5 12h15M4.5 17h9" />);
export const Wrench = icon(<path d="M14.6 6.4a4 4 0 0 1 5-1l-2.8 2.9.3 1.9 1.9.3 2.5-2.6a4.2 4.2 0 0 1-5.6 5.4l-6.8 6.9a2 2 0 0 1-2.9-2.9l6.9-6.8a4 4 0 0 1 1.5-4.1z" />);
export const Chevron = icon(<path d="m9 6 6 6-6 6" />);
export const Copy = icon(<path d="M9 9h9.5v10.5H9zM6 15H5V4.5h9.5V6" />);
export const Cross = icon(<path d="m6.5 6.5 11 11M17.5 6.5l-11 11" />);
export const Bin = icon(<path d="M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7M10.2 10.5v5.5M13.8 10.5v5.5" />);
export const Check = icon(<path d="m5 12.5 4.5 4.5L19 7.5" />);
export const Refresh = icon(<path d="M19.5 12a7.5 7.5 0 1 1-2.3-5.4M19.5 4.5v4h-4" />);
export const Door = icon(<path d="M13.5 4.5h-6A1.5 1.5 0 0 0 6 6v12a1.5 1.5 0 0 0 1.5 1.5h6M10.5 12H20M16.5 8.5 20 12l-3.5 3.5" />);
export const Alert = icon(<path d="M12 8.5v4.5M12 16.2v.1M12 3.5 2.8 19.5h18.4z" />);

export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9.5" />
      <path d="M8 11h11M8 16h16M8 21h7" />
    </svg>
  );
}
