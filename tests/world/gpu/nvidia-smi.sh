#!/bin/sh
# Stand-in for nvidia-smi, put into containers by the hook or by CDI: a listing,
# or the rows of --query-gpu as with --format=csv,noheader,nounits.
fields=''
for argument in "$@"; do
  case $argument in --query-gpu=*) fields=$(echo "${argument#*=}" | tr , ' ') ;; esac
done
index=0
# shellcheck disable=SC2043 # what places this file fills in the UUIDs
for uuid in @UUIDS@; do
  if [ -z "$fields" ]; then
    echo "GPU $index: Imaginary 24 GB (UUID: $uuid)"
  else
    row=''
    for field in $fields; do
      case $field in
        index) value=$index ;;
        uuid) value=$uuid ;;
        name) value='Imaginary 24 GB' ;;
        memory.total) value=24576 ;;
        memory.used) value=512 ;;
        memory.free) value=24064 ;;
        *) value='[N/A]' ;;
      esac
      row="$row, $value"
    done
    echo "${row#, }"
  fi
  index=$((index + 1))
done
