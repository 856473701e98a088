#pragma once
// toml++ behind one C function: parse a text, then walk it with a visitor.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  uint32_t line;    // from 1
  uint32_t column;  // from 1
} tidemark_toml_place;

typedef struct {
  const char *bytes;  // not terminated; valid during the call only
  size_t length;
} tidemark_toml_text;

// The kind of a value. A date or a time is in `text`, as TOML writes it.
typedef enum {
  tidemark_toml_string,
  tidemark_toml_integer,
  tidemark_toml_float,
  tidemark_toml_boolean,
  tidemark_toml_time,
  tidemark_toml_array,  // its elements follow, then `leave`
  tidemark_toml_table,  // its entries follow, then `leave`
} tidemark_toml_kind;

typedef struct {
  tidemark_toml_kind kind;
  tidemark_toml_text key;  // empty for an element of an array
  tidemark_toml_place key_place;
  tidemark_toml_place place;
  tidemark_toml_text text;
  int64_t integer;
  double number;
  bool boolean;
} tidemark_toml_value;

typedef struct {
  void *context;
  void (*value)(void *context, const tidemark_toml_value *value);
  void (*leave)(void *context);
  void (*error)(void *context, tidemark_toml_text message, tidemark_toml_place place);
} tidemark_toml_visitor;

// Parses the text and visits every value in it, or calls `error` once. Returns whether parsing succeeded.
bool tidemark_toml_visit(const char *text, size_t length, const tidemark_toml_visitor *visitor);

#ifdef __cplusplus
}
#endif
