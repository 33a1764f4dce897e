// The component that the files of plugins go through once, before the runtime evaluates them. It is one of its own because
// it is larger than the runtime, and what it makes is kept.
import { parse } from "acorn";
import { transform as withoutTypes } from "sucrase";

export const transform = (source, typescript) => {
  try {
    return exported(typescript ? stripped(source) : source);
  } catch (error) {
    throw typeof error === "string" ? error : placed(error);
  }
};

const stripped = (source) => {
  try {
    return withoutTypes(source, { transforms: ["typescript"], disableESTransforms: true, preserveDynamicImport: true }).code;
  } catch (error) {
    throw String(error.message).replace(/^Error transforming [^:]*: /, "");
  }
};

// Returns the body of a function that returns what a module exports. What is taken out becomes blanks, so everything else
// stays where it is.
const exported = (source) => {
  const edits = [];
  const names = [];
  for (const node of parse(source, { ecmaVersion: "latest", sourceType: "module", locations: true }).body) {
    if (node.source) throw imported(node);
    if (node.type === "ExportNamedDeclaration") {
      edits.push([node.start, node.declaration ? node.declaration.start : node.end, ""]);
      names.push(...(node.declaration ? declared(node.declaration) : node.specifiers.map((s) => [named(s.exported), s.local.name])));
    } else if (node.type === "ExportDefaultDeclaration") {
      const { declaration } = node;
      const own = /^(Function|Class)Declaration$/.test(declaration.type) && declaration.id;
      edits.push([node.start, declaration.start, own ? "" : "let $default ="]);
      if (!own) edits.push([node.end, node.end, ";"]);
      names.push(["default", own ? declaration.id.name : "$default"]);
    }
  }
  const list = names.map(([name, local]) => `${JSON.stringify(name)}: ${local}`).join(", ");
  return `${edited(source, edits)}\n;return { ${list} };`;
};

const edited = (source, edits) => {
  let found = "";
  let at = 0;
  for (const [start, end, text] of edits) {
    const blank = source.slice(start, end).replace(/[^\n]/g, " ");
    found += source.slice(at, start) + text + blank.slice(text.length);
    at = end;
  }
  return found + source.slice(at);
};

const named = (node) => node.name ?? node.value;

const declared = (node) => {
  const all = node.type === "VariableDeclaration" ? node.declarations.flatMap((one) => bound(one.id)) : [node.id.name];
  return all.map((name) => [name, name]);
};

// Returns the names that a pattern binds.
const bound = (node) => {
  if (!node) return [];
  if (node.type === "Identifier") return [node.name];
  if (node.type === "ObjectPattern") return node.properties.flatMap((one) => bound(one.value ?? one.argument));
  if (node.type === "ArrayPattern") return node.elements.flatMap(bound);
  return bound(node.left ?? node.argument);
};

const imported = (node) => {
  const what = `${JSON.stringify(node.source.value)} is another file, and a plugin is one`;
  return Object.assign(new Error(`${what}: make one of both first (dataflare plugin build)`), { loc: node.loc.start });
};

// Says what the parser said, with the column counted from 1.
const placed = ({ message, loc }) =>
  loc ? `${message.replace(/ \(\d+:\d+\)$/, "")} (${loc.line}:${loc.column + 1})` : String(message);
