# "cmake --install": every file where Debian's postfix and dovecot packages have it, so that the same command lines, master.cf and
# scripts find it. Theirs are put aside first (conf/swap); with DESTDIR, for a package, nothing but that tree is touched.
# Nothing of /etc/postfix is written over.
if(CMAKE_INSTALL_PREFIX_INITIALIZED_TO_DEFAULT)
  set(CMAKE_INSTALL_PREFIX /usr CACHE PATH "where Debian has its programs" FORCE)
endif()
set(daemon_dir lib/postfix/sbin)
get_property(daemons GLOBAL PROPERTY POSTHORN_DAEMONS)
get_property(commands GLOBAL PROPERTY POSTHORN_COMMANDS) # "sbin/postfix"
get_property(links GLOBAL PROPERTY POSTHORN_LINKS)       # "sbin/postalias"

set(aside "")
foreach(file ${commands} ${links} lib/sendmail)
  string(APPEND aside " /usr/${file}")
endforeach()
install(CODE "
  if(\"\$ENV{DESTDIR}\" STREQUAL \"\" AND \"\${CMAKE_INSTALL_PREFIX}\" STREQUAL \"/usr\")
    execute_process(COMMAND \"${CMAKE_SOURCE_DIR}/conf/swap\" aside ${aside} COMMAND_ERROR_IS_FATAL ANY)
  endif()")

install(TARGETS ${daemons} RUNTIME DESTINATION ${daemon_dir})
install(FILES ${CMAKE_BINARY_DIR}/daemons/lmtp ${CMAKE_BINARY_DIR}/daemons/posthorn.params DESTINATION ${daemon_dir})
foreach(file ${commands})
  get_filename_component(where ${file} DIRECTORY)
  get_filename_component(name ${file} NAME)
  install(TARGETS ${name} RUNTIME DESTINATION ${where})
endforeach()
foreach(file ${links})
  get_filename_component(where ${file} DIRECTORY)
  install(FILES ${CMAKE_BINARY_DIR}/${file} DESTINATION ${where})
endforeach()
install(CODE "
  file(MAKE_DIRECTORY \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib\")
  file(CREATE_LINK ../sbin/sendmail \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/sendmail\" SYMBOLIC)
  list(APPEND CMAKE_INSTALL_MANIFEST_FILES \"\${CMAKE_INSTALL_PREFIX}/lib/sendmail\")")
install(DIRECTORY ${CMAKE_BINARY_DIR}/man/ DESTINATION share/man FILES_MATCHING PATTERN "*.[158]")
install(FILES conf/main.cf conf/master.cf DESTINATION share/posthorn/example)
install(FILES conf/dovecot.pam DESTINATION share/posthorn/example/pam.d RENAME dovecot)
install(PROGRAMS conf/swap DESTINATION share/posthorn)
install(FILES conf/posthorn.service DESTINATION lib/systemd/system)
install(FILES conf/posthorn.sysusers DESTINATION lib/sysusers.d RENAME posthorn.conf)
install(FILES conf/posthorn.tmpfiles DESTINATION lib/tmpfiles.d RENAME posthorn.conf)
install(CODE "
  foreach(name main.cf master.cf)
    set(file \"\$ENV{DESTDIR}/etc/postfix/\${name}\")
    if(NOT EXISTS \"\${file}\")
      file(INSTALL \"${CMAKE_SOURCE_DIR}/conf/\${name}\" DESTINATION /etc/postfix) # behind DESTDIR
    endif()
  endforeach()
  set(manifest \"\${CMAKE_INSTALL_PREFIX}/share/posthorn/manifest\")
  set(ours \${CMAKE_INSTALL_MANIFEST_FILES})
  list(FILTER ours EXCLUDE REGEX \"/etc/postfix/\")
  list(JOIN ours \"\\n\" lines)
  file(WRITE \"\$ENV{DESTDIR}\${manifest}\" \"\${lines}\\n\${manifest}\\n\")")

add_custom_target(uninstall COMMAND ${CMAKE_SOURCE_DIR}/conf/swap back VERBATIM)
