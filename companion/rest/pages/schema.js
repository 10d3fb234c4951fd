// JSON Schema in words: what type a field has, what bounds it, and the fields of an object.

// Follow `$ref` inside its own document, and through a wrapper of one.
export function follow(schema, document) {
  let found = schema ?? {};
  for (let steps = 0; found.$ref && steps < 16; steps++) {
    found = found.$ref.slice(2).split("/")
      .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
      .reduce((value, part) => value?.[part], document) ?? {};
  }
  return found.allOf?.length === 1 ? follow(found.allOf[0], document) : found;
}

const nameOf = (schema) => schema.$ref?.split("/").pop();

export function typeOf(schema, document) {
  const found = follow(schema, document);
  if (found.const !== undefined) return JSON.stringify(found.const);
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = found.anyOf ?? found.oneOf;
  if (choices) return [...new Set(choices.map((choice) => typeOf(choice, document)))].join(" | ");
  if (found.type === "array") return `${typeOf(found.items ?? {}, document)}[]`;
  if (found.type === "object") return nameOf(schema) ?? "object";
  if (Array.isArray(found.type)) return found.type.join(" | ");
  return [found.type ?? "any", found.format && `(${found.format})`].filter(Boolean).join(" ");
}

const BOUNDS = {
  minLength: "最短", maxLength: "最长", minimum: "≥", maximum: "≤", exclusiveMinimum: ">",
  exclusiveMaximum: "<", minItems: "至少", maxItems: "至多", pattern: "格式",
};

function boundsOf(schema, document) {
  const found = follow(schema, document);
  const own = Object.entries(BOUNDS)
    .filter(([key]) => found[key] !== undefined)
    .map(([key, word]) => `${word} ${found[key]}`);
  const inner = (found.anyOf ?? []).flatMap((choice) => boundsOf(choice, document));
  const fallback = found.default === undefined ? [] : [`默认 ${JSON.stringify(found.default)}`];
  return [...own, ...inner, ...fallback];
}

export function fieldsOf(schema, document, depth = 0, prefix = "") {
  const found = follow(schema, document);
  const required = new Set(found.required ?? []);
  return Object.entries(found.properties ?? {}).flatMap(([name, field]) => {
    const whole = follow(field, document);
    const row = {
      name: prefix + name,
      required: required.has(name),
      type: typeOf(field, document),
      bounds: boundsOf(field, document).join("，"),
      description: field.description ?? whole.description ?? "",
    };
    const inner = whole.type === "array" ? whole.items : field;
    const mark = whole.type === "array" ? "[]." : ".";
    const below = depth < 2 ? fieldsOf(inner, document, depth + 1, `${prefix}${name}${mark}`) : [];
    return [row, ...below];
  });
}
