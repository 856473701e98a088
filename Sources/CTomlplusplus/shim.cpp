#include "CTomlplusplus.h"

#include <sstream>
#include <string>
#include <string_view>
#include <toml++/toml.h>

namespace {

tidemark_toml_text text_of(std::string_view text) { return {text.data(), text.size()}; }

tidemark_toml_place place_of(const toml::source_region &source) { return {source.begin.line, source.begin.column}; }

void visit(const toml::node &node, tidemark_toml_text key, tidemark_toml_place key_place,
           const tidemark_toml_visitor &visitor) {
  tidemark_toml_value value{};
  value.key = key;
  value.key_place = key_place;
  value.place = place_of(node.source());
  std::string written;
  if (auto string = node.as_string()) {
    value.kind = tidemark_toml_string;
    value.text = text_of(string->get());
  } else if (auto integer = node.as_integer()) {
    value.kind = tidemark_toml_integer;
    value.integer = integer->get();
  } else if (auto number = node.as_floating_point()) {
    value.kind = tidemark_toml_float;
    value.number = number->get();
  } else if (auto boolean = node.as_boolean()) {
    value.kind = tidemark_toml_boolean;
    value.boolean = boolean->get();
  } else if (auto array = node.as_array()) {
    value.kind = tidemark_toml_array;
    visitor.value(visitor.context, &value);
    for (auto &&element : *array) visit(element, {}, {}, visitor);
    visitor.leave(visitor.context);
    return;
  } else if (auto table = node.as_table()) {
    value.kind = tidemark_toml_table;
    visitor.value(visitor.context, &value);
    for (auto &&[name, entry] : *table) visit(entry, text_of(name.str()), place_of(name.source()), visitor);
    visitor.leave(visitor.context);
    return;
  } else {
    std::ostringstream stream;
    if (auto date = node.as_date()) stream << *date;
    if (auto time = node.as_time()) stream << *time;
    if (auto moment = node.as_date_time()) stream << *moment;
    written = stream.str();
    value.kind = tidemark_toml_time;
    value.text = text_of(written);
  }
  visitor.value(visitor.context, &value);
}

}  // namespace

bool tidemark_toml_visit(const char *text, size_t length, const tidemark_toml_visitor *visitor) {
  toml::parse_result result = toml::parse(std::string_view(text, length));
  if (!result) {
    const toml::parse_error &error = result.error();
    visitor->error(visitor->context, text_of(error.description()), place_of(error.source()));
    return false;
  }
  visit(result.table(), {}, {}, *visitor);
  return true;
}
