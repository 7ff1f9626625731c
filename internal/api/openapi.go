package api

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sort"
	"strings"
	"time"

	"github.com/abide-project/abide/internal/api/wire"
	"github.com/abide-project/abide/internal/control"
)

// OpenAPI describes the API as an OpenAPI 3.1 document, made from the table of
// routes and the types they name. docs/openapi.json is its committed form.
func OpenAPI() []byte {
	g := generator{schemas: map[string]any{}}
	paths := map[string]any{}
	for i := range routes {
		r := &routes[i]
		item, _ := paths[r.path].(map[string]any)
		if item == nil {
			item = map[string]any{}
			paths[r.path] = item
		}
		item[strings.ToLower(r.method)] = g.operation(r)
	}
	doc := map[string]any{
		"openapi": "3.1.0",
		"info": map[string]any{
			"title":       "abide control API",
			"version":     "1",
			"description": "HTTP/1.1 and JSON on the unix socket RUN/control.sock. Peers are judged by the credentials the kernel names. Bodies are at most " + fmt.Sprint(wire.MaxBody) + " bytes.",
		},
		"servers":    []any{map[string]any{"url": "http://abide", "description": "any host name: the connection is the unix socket"}},
		"paths":      paths,
		"components": map[string]any{"schemas": g.schemas},
	}
	data, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(data, '\n')
}

type generator struct{ schemas map[string]any }

func (g *generator) operation(r *route) map[string]any {
	media := r.media
	if media == "" {
		media = wire.JSON
	}
	content := map[string]any{media: map[string]any{"schema": g.schema(reflect.TypeOf(r.answer))}}
	if r.lines != nil {
		content[wire.NDJSON] = map[string]any{"schema": g.schema(reflect.TypeOf(r.lines))}
	}
	op := map[string]any{
		"summary":     r.summary,
		"operationId": operationID(r),
		"responses": map[string]any{
			"200": map[string]any{"description": "done", "content": content},
			"default": map[string]any{"description": "refused",
				"content": map[string]any{wire.JSON: map[string]any{"schema": g.schema(reflect.TypeFor[wire.ErrorBody]())}}},
		},
	}
	if p := parameters(r); len(p) > 0 {
		op["parameters"] = p
	}
	if r.body != nil {
		op["requestBody"] = map[string]any{"content": map[string]any{wire.JSON: map[string]any{"schema": g.schema(reflect.TypeOf(r.body))}}}
	}
	return op
}

func operationID(r *route) string {
	words := strings.FieldsFunc(strings.TrimPrefix(r.path, "/v1/"), func(c rune) bool { return c == '/' || c == '{' || c == '}' })
	return strings.ToLower(r.method) + "-" + strings.Join(words, "-")
}

func parameters(r *route) []any {
	var list []any
	if strings.Contains(r.path, "{name}") {
		list = append(list, map[string]any{"name": "name", "in": "path", "required": true, "schema": map[string]any{"type": "string"}})
	}
	if strings.Contains(r.path, "{verb}") {
		list = append(list, map[string]any{"name": "verb", "in": "path", "required": true,
			"schema": map[string]any{"type": "string", "enum": wire.ServiceVerbs}})
	}
	for _, p := range r.query {
		list = append(list, map[string]any{"name": p.name, "in": "query", "description": p.text, "schema": map[string]any{"type": p.kind}})
	}
	return list
}

// words lists the values of the types that are words.
var words = map[reflect.Type]any{
	reflect.TypeFor[control.Code](): []control.Code{"", control.Failed, control.Usage, control.NotRunning, control.Unknown,
		control.NotPermitted, control.NoDaemon, control.TimedOut},
	reflect.TypeFor[control.Verb](): wire.ServiceVerbs,
}

func (g *generator) schema(t reflect.Type) map[string]any {
	if list, ok := words[t]; ok {
		return map[string]any{"type": "string", "enum": list}
	}
	if t == reflect.TypeFor[time.Time]() {
		return map[string]any{"type": "string", "format": "date-time"}
	}
	switch t.Kind() {
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": g.schema(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.schema(t.Elem())}
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{g.schema(t.Elem()), map[string]any{"type": "null"}}}
	case reflect.Struct:
		return g.reference(t)
	default:
		panic("cannot describe " + t.String())
	}
}

func (g *generator) reference(t reflect.Type) map[string]any {
	if _, ok := g.schemas[t.Name()]; !ok {
		g.schemas[t.Name()] = nil // ends a recursion
		properties, required := map[string]any{}, []string{}
		for i := range t.NumField() {
			name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			properties[name] = g.schema(t.Field(i).Type)
			if options != "omitempty" {
				required = append(required, name)
			}
		}
		sort.Strings(required)
		g.schemas[t.Name()] = map[string]any{"type": "object", "properties": properties, "required": required}
	}
	return map[string]any{"$ref": "#/components/schemas/" + t.Name()}
}
