"use strict";
// Draws /openapi.json. Everything is put in as text; nothing is loaded from elsewhere; the key stays in this page.

const element = (name, attributes = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made[key] = value;
  made.append(...children.filter((child) => child !== null));
  return made;
};

const resolve = (api, schema) => {
  const name = schema?.$ref?.split("/").pop();
  return name ? { ...api.components.schemas[name], title: name } : (schema ?? {});
};

const typeOf = (api, schema) => {
  if (schema?.$ref) return schema.$ref.split("/").pop();
  if (schema?.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema?.const !== undefined) return JSON.stringify(schema.const);
  const options = schema?.anyOf ?? schema?.oneOf;
  if (options) return options.map((option) => typeOf(api, option)).join(" | ");
  if (schema?.type === "array") return `array of ${typeOf(api, schema.items)}`;
  if (schema?.additionalProperties && schema.additionalProperties !== true) {
    return `object of ${typeOf(api, schema.additionalProperties)}`;
  }
  return schema?.type ?? "any";
};

const exampleOf = (api, schema, depth = 0) => {
  const found = resolve(api, schema);
  if (found.examples?.length) return found.examples[0];
  if (found.default !== undefined) return found.default;
  if (found.enum) return found.enum[0];
  const options = found.anyOf ?? found.oneOf;
  if (options) return exampleOf(api, options[0], depth);
  if (found.properties && depth < 4) {
    const wanted = Object.entries(found.properties).filter(([name]) => found.required?.includes(name));
    return Object.fromEntries(wanted.map(([name, part]) => [name, exampleOf(api, part, depth + 1)]));
  }
  if (found.type === "array") return depth < 4 ? [exampleOf(api, found.items, depth + 1)] : [];
  return { string: "", integer: 0, number: 0, boolean: false, object: {} }[found.type] ?? null;
};

const schemaTable = (api, schema, seen = new Set()) => {
  const found = resolve(api, schema);
  if (!found.properties) return element("p", {}, element("code", {}, typeOf(api, schema)));
  if (found.title) seen.add(found.title);
  const nested = [];
  const rows = Object.entries(found.properties).map(([name, part]) => {
    for (const option of [part, part.items, ...(part.anyOf ?? [])]) {
      const inner = option?.$ref?.split("/").pop();
      if (inner && !seen.has(inner)) {
        seen.add(inner);
        nested.push(element("details", {}, element("summary", {}, inner), schemaTable(api, option, seen)));
      }
    }
    const required = found.required?.includes(name) ? "required" : "";
    return element("tr", {},
      element("td", { className: "name" }, name), element("td", {}, element("code", {}, typeOf(api, part))),
      element("td", {}, [required, part.description].filter(Boolean).join(". ")));
  });
  return element("div", {}, element("table", {}, ...rows), ...nested);
};

const tryForm = (api, path, method, operation) => {
  const inputs = (operation.parameters ?? []).map((parameter) => {
    const input = element("input", { name: parameter.name, placeholder: typeOf(api, parameter.schema) });
    return { parameter, input };
  });
  const contents = operation.requestBody?.content ?? {};
  const types = Object.keys(contents);
  const type = element("select", { ariaLabel: "Content-Type" }, ...types.map((name) => element("option", {}, name)));
  const example = types.length ? exampleOf(api, contents[types[0]].schema) : null;
  const body = element("textarea", { ariaLabel: "Body", spellcheck: false, value: JSON.stringify(example, null, 2) });
  const output = element("pre", { hidden: true, ariaLive: "polite" });
  const send = element("button", { type: "button" }, "Send");
  send.addEventListener("click", async () => {
    const query = new URLSearchParams();
    let target = path;
    for (const { parameter, input } of inputs) {
      if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (parameter.in === "query" && input.value) query.append(parameter.name, input.value);
    }
    const headers = {};
    for (const { parameter, input } of inputs) {
      if (parameter.in === "header" && input.value) headers[parameter.name] = input.value;
    }
    const key = document.getElementById("key").value.trim();
    if (key) headers.Authorization = `Bearer ${key}`;
    if (types.length) headers["Content-Type"] = type.value;
    output.hidden = false;
    output.textContent = "…";
    try {
      const url = query.size ? `${target}?${query}` : target;
      const answer = await fetch(url, { method: method.toUpperCase(), headers, body: types.length ? body.value : undefined });
      const text = await answer.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* not JSON: shown as it came */ }
      output.textContent = `${answer.status}  X-Request-Id: ${answer.headers.get("x-request-id")}\n\n${shown}`;
    } catch (error) {
      output.textContent = `No answer: ${error.message}`;
    }
  });
  const fields = inputs.map(({ parameter, input }) => element("tr", {},
    element("td", { className: "name" }, parameter.name), element("td", {}, input),
    element("td", {}, `${parameter.in}${parameter.required ? ", required" : ""}. ${parameter.description ?? ""}`)));
  return element("div", {}, fields.length ? element("table", {}, ...fields) : null,
    types.length ? element("p", {}, type) : null, types.length ? body : null, element("p", {}, send), output);
};

const operationView = (api, path, method, operation) => {
  const view = element("details", {}, element("summary", {},
    element("span", { className: "method" }, method.toUpperCase()), element("span", { className: "path" }, path),
    element("span", { className: "about" }, operation.summary ?? "")));
  view.dataset.text = `${method} ${path} ${operation.summary ?? ""} ${operation.description ?? ""}`.toLowerCase();
  // Drawn when opened: a page of all schemas at once would be slow to read and to draw.
  view.addEventListener("toggle", () => {
    if (!view.open || view.dataset.drawn) return;
    view.dataset.drawn = "yes";
    const parts = [];
    if (operation.description) parts.push(element("p", {}, operation.description));
    for (const [type, content] of Object.entries(operation.requestBody?.content ?? {})) {
      parts.push(element("h3", {}, `Body: ${type}`), schemaTable(api, content.schema));
    }
    for (const [status, answer] of Object.entries(operation.responses ?? {})) {
      const schema = Object.values(answer.content ?? {})[0]?.schema;
      parts.push(element("details", {}, element("summary", {}, `${status}: ${answer.description}`),
        schema ? schemaTable(api, schema) : null));
    }
    view.append(element("div", {}, ...parts, element("h3", {}, "Try it"), tryForm(api, path, method, operation)));
  }, { once: false });
  return view;
};

const draw = (api) => {
  document.title = api.info.title;
  document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;
  const groups = new Map();
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const group = operation.tags?.[0] ?? path.split("/")[2] ?? "other";
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(operationView(api, path, method, operation));
    }
  }
  const main = document.getElementById("operations");
  main.replaceChildren(...[...groups].map(([name, views]) => element("section", {}, element("h2", {}, name), ...views)));
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.trim().toLowerCase();
    for (const view of main.querySelectorAll("[data-text]")) view.hidden = !view.dataset.text.includes(wanted);
    for (const section of main.querySelectorAll("section")) {
      section.hidden = [...section.querySelectorAll("[data-text]")].every((view) => view.hidden);
    }
  });
};

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(draw)
  .catch((error) => {
    document.getElementById("operations").textContent = `openapi.json could not be read: ${error.message}`;
  });
