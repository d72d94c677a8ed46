// What the page can do with a script; all of it can be read without. Nothing is asked for, nothing is kept.
(() => {
  "use strict";
  const make = (tag, properties = {}, ...inside) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...inside);
    return made;
  };
  const bodies = (table) => [...table.tBodies[0].rows];

  // the look: as the system has it until the reader chooses
  const root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const look = make("button", { type: "button", className: "look" });
  const name = () => { look.textContent = dark() ? "Light" : "Dark"; look.setAttribute("aria-label", `${look.textContent} colours`); };
  look.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; name(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", name);
  name();
  document.querySelector("nav").append(look);

  // tables: a click on the head of a column sorts by it; what stands fast stays where it is
  const value = (text) => {
    const found = text.replace(/,(?=\d{3})/g, "").replace(/^(<|x)\s*/, "").match(/^[-+]?\d*\.?\d+/);
    return found ? parseFloat(found[0]) : null;
  };
  const fast = (row) => row.classList.contains("baseline") ? -1 : row.classList.contains("reference") ? 1 : 0;
  const order = (column, down) => (one, other) => {
    const texts = [one, other].map((row) => row.cells[column].textContent.trim());
    const [a, b] = texts.map(value);
    if (fast(one) !== fast(other)) return fast(one) - fast(other);
    if ((a === null) !== (b === null)) return a === null ? 1 : -1;
    const by = a === null ? texts[0].localeCompare(texts[1], "en") : a - b;
    return down ? -by : by;
  };
  const sortable = (table) => {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, column) => {
      const button = make("button", { type: "button" });
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const was = head.getAttribute("aria-sort");
        const numbers = bodies(table).some((row) => value(row.cells[column].textContent.trim()) !== null);
        const down = was ? was === "ascending" : numbers;  // numbers: the largest first
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        table.tBodies[0].append(...bodies(table).sort(order(column, down)));
      });
    });
  };
  const filter = (table, label) => {
    const field = make("input", { type: "search", placeholder: "filter rows" });
    field.setAttribute("aria-label", `Filter rows: ${label.slice(0, 60)}`);
    const told = make("span", { role: "status" });
    field.addEventListener("input", () => {
      const wanted = field.value.toLowerCase();
      const rows = bodies(table);
      rows.forEach((row) => row.classList.toggle("out", !row.textContent.toLowerCase().includes(wanted)));
      told.textContent = wanted ? `${rows.filter((row) => !row.classList.contains("out")).length} of ${rows.length}` : "";
    });
    return [field, told];
  };

  // lines: a line that is not ticked leaves every table and every picture that is its own
  const lines = (table) => {
    const rows = bodies(table).filter((row) => row.dataset.line);
    const boxes = rows.map((row) => {
      const box = make("input", { type: "checkbox", checked: true, value: row.dataset.line });
      const words = row.cells[0].querySelector("a") || row.cells[0];
      return [box, make("label", {}, box, ` ${words.textContent}`)];
    });
    const summary = make("summary", { textContent: "Lines shown: all" });
    const apply = () => {
      const gone = new Set(boxes.filter(([box]) => !box.checked).map(([box]) => box.value));
      document.querySelectorAll("[data-line]").forEach((one) => {
        one.classList.toggle("gone", one.dataset.line.split(" ").some((line) => gone.has(line)));
      });
      summary.textContent = `Lines shown: ${gone.size ? `${boxes.length - gone.size} of ${boxes.length}` : "all"}`;
    };
    const every = (label, checked) => {
      const button = make("button", { type: "button", textContent: label });
      button.addEventListener("click", () => { boxes.forEach(([box]) => { box.checked = checked; }); apply(); });
      return button;
    };
    boxes.forEach(([box]) => box.addEventListener("change", apply));
    return make("details", {}, summary, make("div", { className: "lines" }, every("all", true), every("none", false), ...boxes.map(([, label]) => label)));
  };

  document.querySelectorAll("main table").forEach((table) => {
    const sheet = table.closest(".sheet");
    if (!sheet || table.tBodies[0].rows.length < 2) return;
    sortable(table);
    const grid = table.classList.contains("grid");
    const tools = make("div", { className: "tools" });
    if (table.tBodies[0].rows.length > 7) tools.append(...filter(table, grid ? "decision table" : table.caption.textContent));
    if (grid) tools.append(lines(table));
    if (tools.childNodes.length) sheet.prepend(tools);
  });

  // a hint where a table is wider than the screen
  const measure = () => document.querySelectorAll(".sheet").forEach((sheet) => {
    const scroll = sheet.querySelector(".scroll");
    const wide = scroll.scrollWidth > scroll.clientWidth + 1;
    sheet.classList.toggle("scrolls", wide);
    sheet.classList.toggle("fits", !wide);
  });
  addEventListener("resize", measure);
  document.addEventListener("toggle", measure, true);
  measure();
})();
